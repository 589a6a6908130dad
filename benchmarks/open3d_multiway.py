# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The peer: Open3D's own chain for unordered fragments, with its tutorials' settings.

FPFH, RANSAC of 50,000 iterations on mutual matches, the overlap test of the reconstruction system,
`global_optimization`. Open3D offers no start for unordered fragments: from the identity it does
badly, so it is also given the spanning tree of its own inlier counts.
"""

from __future__ import annotations

from itertools import combinations
import time

from mvreg_ros.evaluation.metrics import Pair
from mvreg_ros.multiview.graph import chain_poses, components, maximum_spanning_forest
from mvreg_ros.types import Edges, FloatArray, Fragment, Progress, Registration, Verdict
import numpy as np
import open3d as o3d

VOXEL = 0.05
DISTANCE = 1.5 * VOXEL
MIN_OVERLAP = 0.3
ITERATIONS = 50_000
pipelines = o3d.pipelines.registration


def describe(fragment: Fragment) -> tuple[o3d.geometry.PointCloud, pipelines.Feature]:
    """Return the cloud at 5 cm with normals, and its FPFH: radii of 2 and 5 voxels."""
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(fragment.points.astype(float)))
    cloud = cloud.voxel_down_sample(VOXEL)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(2 * VOXEL, 30))
    cloud.orient_normals_towards_camera_location(np.zeros(3))
    search = o3d.geometry.KDTreeSearchParamHybrid(5 * VOXEL, 100)
    return cloud, pipelines.compute_fpfh_feature(cloud, search)  # type: ignore[call-arg]


def register_pairs(
    fragments: list[Fragment], progress: Progress
) -> tuple[Edges, dict[Pair, FloatArray], dict[str, float]]:
    """Return the edges that pass the overlap test, all estimates T_i_j, and seconds by stage."""
    o3d.utility.random.seed(0)
    begin = time.perf_counter()
    described = []
    for fragment in fragments:
        described.append(describe(fragment))
        progress('features', len(described), len(fragments))
    middle = time.perf_counter()
    estimates: dict[Pair, FloatArray] = {}
    rows = []
    pairs = list(combinations(range(len(fragments)), 2))
    for done, (i, j) in enumerate(pairs):
        (target, target_fpfh), (source, source_fpfh) = described[i], described[j]
        found = pipelines.registration_ransac_based_on_feature_matching(
            source, target, source_fpfh, target_fpfh, True, DISTANCE,
            pipelines.TransformationEstimationPointToPoint(False), 3,
            [pipelines.CorrespondenceCheckerBasedOnEdgeLength(0.9),
             pipelines.CorrespondenceCheckerBasedOnDistance(DISTANCE)],
            pipelines.RANSACConvergenceCriteria(ITERATIONS, 0.999),
        )
        estimates[i, j] = np.array(found.transformation)
        information = pipelines.get_information_matrix_from_point_clouds(
            source, target, DISTANCE, found.transformation
        )
        overlap = information[5, 5] / min(len(source.points), len(target.points))
        if overlap > MIN_OVERLAP:
            rows.append((i, j, estimates[i, j], information, int(information[5, 5])))
        progress('pairs', done + 1, len(pairs))
    count = len(rows)
    edges = Edges(
        i=np.array([row[0] for row in rows], np.int64),
        j=np.array([row[1] for row in rows], np.int64),
        T_i_j=np.array([row[2] for row in rows]).reshape(-1, 4, 4),
        confidence=np.ones(count), inliers=np.array([row[4] for row in rows], np.int64),
        evidence=np.array([row[4] for row in rows], float),
        information=np.array([row[3] for row in rows]).reshape(-1, 6, 6),
        verdict=np.full(count, Verdict.KEPT, object), reason=np.full(count, '', object),
    )
    seconds = {'features': middle - begin, 'pairs': time.perf_counter() - middle}
    return edges, estimates, seconds


def optimize(count: int, edges: Edges, seconds: dict[str, float], tree: bool) -> Registration:
    """Return the poses of `global_optimization`, component by component."""
    begin = time.perf_counter()
    poses = np.full((count, 4, 4), np.nan)
    component = components(count, edges.i, edges.j)
    for label in range(component.max(initial=-1) + 1):
        nodes = np.flatnonzero(component == label)
        part = edges.select(component[edges.i] == label)
        i, j = np.searchsorted(nodes, part.i), np.searchsorted(nodes, part.j)
        start = np.tile(np.eye(4), (len(nodes), 1, 1))
        if tree:
            forest = maximum_spanning_forest(len(nodes), i, j, part.inliers.astype(float))
            start = chain_poses(len(nodes), i[forest], j[forest], part.T_i_j[forest])
        graph = pipelines.PoseGraph()
        for pose in start:
            graph.nodes.append(pipelines.PoseGraphNode(pose))
        for row in range(len(part)):
            graph.edges.append(pipelines.PoseGraphEdge(
                int(j[row]), int(i[row]), part.T_i_j[row], part.information[row], True
            ))
        pipelines.global_optimization(
            graph, pipelines.GlobalOptimizationLevenbergMarquardt(),
            pipelines.GlobalOptimizationConvergenceCriteria(),
            pipelines.GlobalOptimizationOption(DISTANCE, 0.25, 1.0, 0),
        )
        poses[nodes] = [node.pose for node in graph.nodes]
    placed = component >= 0
    return Registration(
        poses=poses, placed=placed, component=component,
        covariances=np.full((count, 6, 6), np.nan), edges=edges,
        reason=np.where(placed, '', 'no_link').astype(object),
        seconds=seconds | {'synchronization': time.perf_counter() - begin},
    )
