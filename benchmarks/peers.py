# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The peers for a pair of fragments, all on the same matches: RANSAC, FGR and KISS-Matcher.

Open3D's FPFH with its tutorials' settings, mutual nearest neighbours, and the overlap test of
Open3D's reconstruction system. KISS-Matcher is given the matches too (`prune_and_solve`), with the
inlier distance of RANSAC as the voxel size that it takes for its noise bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import combinations
import time

from mvreg_ros.evaluation.metrics import Pair
from mvreg_ros.types import Edges, FloatArray, Fragment, Progress, Verdict
import numpy as np
import open3d as o3d

VOXEL = 0.05
DISTANCE = 1.5 * VOXEL
MIN_OVERLAP = 0.3
ITERATIONS = 50_000
pipelines = o3d.pipelines.registration
Cloud = o3d.geometry.PointCloud
# T_i_j from the clouds j and i and matches (K, 2) of rows in them.
Estimator = Callable[[Cloud, Cloud, o3d.utility.Vector2iVector], FloatArray]


def ransac(source: Cloud, target: Cloud, matches: o3d.utility.Vector2iVector) -> FloatArray:
    """Return what RANSAC of three points finds in 50,000 iterations."""
    return np.array(pipelines.registration_ransac_based_on_correspondence(
        source, target, matches, DISTANCE,
        pipelines.TransformationEstimationPointToPoint(False), 3,
        [pipelines.CorrespondenceCheckerBasedOnEdgeLength(0.9),
         pipelines.CorrespondenceCheckerBasedOnDistance(DISTANCE)],
        pipelines.RANSACConvergenceCriteria(ITERATIONS, 0.999),
    ).transformation)


def fast_global(source: Cloud, target: Cloud, matches: o3d.utility.Vector2iVector) -> FloatArray:
    """Return what fast global registration (Zhou et al. 2016) finds."""
    option = pipelines.FastGlobalRegistrationOption(maximum_correspondence_distance=0.5 * VOXEL)
    return np.array(pipelines.registration_fgr_based_on_correspondence(
        source, target, matches, option).transformation)


def kiss(source: Cloud, target: Cloud, matches: o3d.utility.Vector2iVector) -> FloatArray:
    """Return what KISS-Matcher (Lim et al. 2025) finds."""
    import kiss_matcher

    rows = np.asarray(matches)
    found = kiss_matcher.KISSMatcher(DISTANCE).prune_and_solve(*(
        list(np.asarray(cloud.points)[column].astype(np.float32))
        for cloud, column in ((source, rows[:, 0]), (target, rows[:, 1]))))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = found.rotation, found.translation
    return T


def estimators() -> dict[str, Estimator]:
    """Return the estimators that are installed, and say which is not."""
    found: dict[str, Estimator] = {'RANSAC': ransac, 'FGR': fast_global}
    if find_spec('kiss_matcher'):
        found['KISS-Matcher'] = kiss
    else:
        print("KISS-Matcher is left out: pip install 'mvreg_ros[benchmarks]'")
    return found


@dataclass
class PeerPairs:
    """
    What a peer makes of all pairs of a scene.

    estimates: T_i_j by pair. seconds: by stage, with what it shares with the others. rows: i, j,
    T_i_j and information, rotation first, of the pairs that pass the overlap test.
    """

    estimates: dict[Pair, FloatArray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    rows: list[tuple[int, int, FloatArray, FloatArray]] = field(default_factory=list)

    def edges(self) -> Edges:
        """Return the pairs that pass the overlap test; the last of the diagonal counts inliers."""
        i, j, T_i_j, information = zip(*self.rows, strict=True) if self.rows else ((),) * 4
        count = len(i)
        inliers = np.array([matrix[5, 5] for matrix in information], np.int64)
        return Edges(
            i=np.array(i, np.int64), j=np.array(j, np.int64),
            T_i_j=np.array(T_i_j).reshape(-1, 4, 4), confidence=np.ones(count),
            inliers=inliers, evidence=inliers.astype(float),
            information=np.array(information).reshape(-1, 6, 6),
            verdict=np.full(count, Verdict.KEPT, object), reason=np.full(count, '', object),
        )


def describe(fragment: Fragment) -> tuple[Cloud, pipelines.Feature]:
    """Return the cloud at 5 cm with normals, and its FPFH: radii of 2 and 5 voxels."""
    cloud = Cloud(o3d.utility.Vector3dVector(fragment.points.astype(float)))
    cloud = cloud.voxel_down_sample(VOXEL)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(2 * VOXEL, 30))
    cloud.orient_normals_towards_camera_location(fragment.sensor_origin.astype(float))
    search = o3d.geometry.KDTreeSearchParamHybrid(5 * VOXEL, 100)
    return cloud, pipelines.compute_fpfh_feature(cloud, search)  # type: ignore[call-arg]


def register_pairs(fragments: list[Fragment], progress: Progress) -> dict[str, PeerPairs]:
    """Return what each of the estimators makes of the same matches of all pairs."""
    installed = estimators()
    o3d.utility.random.seed(0)
    begin = time.perf_counter()
    described = []
    for fragment in fragments:
        described.append(describe(fragment))
        progress('features', len(described), len(fragments))
    spent = time.perf_counter() - begin
    peers = {name: PeerPairs(seconds={'features': spent, 'pairs': 0.0}) for name in installed}
    pairs = list(combinations(range(len(fragments)), 2))
    for done, (i, j) in enumerate(pairs, 1):
        (target, target_fpfh), (source, source_fpfh) = described[i], described[j]
        begin = time.perf_counter()
        matches = pipelines.correspondences_from_features(source_fpfh, target_fpfh, True)
        matching = time.perf_counter() - begin
        for name, estimator in installed.items():
            begin = time.perf_counter()
            T = estimator(source, target, matches)
            information = pipelines.get_information_matrix_from_point_clouds(
                source, target, DISTANCE, T)
            if information[5, 5] > MIN_OVERLAP * min(len(source.points), len(target.points)):
                peers[name].rows.append((i, j, T, information))
            peers[name].estimates[i, j] = T
            peers[name].seconds['pairs'] += matching + time.perf_counter() - begin
        progress('pairs', done, len(pairs))
    return peers
