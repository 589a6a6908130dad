# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Refinement of the edges in use: generalised ICP from where they are.

ICP alone slides along walls and along repeated structure; correspondences alone are as coarse as
the keypoints. Each edge is therefore the mean of both, weighted by what each knows of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from mvreg_ros.cache import Cache, MemoryCache
from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.multiview.graph import adjacency
from mvreg_ros.multiview.se3 import fuse, swap_order
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import Edges, FloatArray, Fragment, no_progress, Progress, RefinedEdge
import numpy as np
from scipy.sparse.csgraph import reverse_cuthill_mckee
import small_gicp
import torch

VOXEL_SIZE = 0.025  # metres, of the world in which GICP works


@dataclass(frozen=True)
class RefinementConfig:
    """
    Settings of GICP; lengths are in voxels.

    spacing: of the points used. max_points: of a fragment; GICP holds the interpreter, and with it
    the node, for as long as it runs. distances: of points that may correspond, round after round.
    max_motion and max_angle (rad): an ICP result farther from the start is not believed.
    min_points: nor one with fewer corresponding points. information_scale: turns GICP's Hessian,
    which takes neighbouring points for independent, into information on the correspondences'
    scale.
    """

    spacing: float = 2.0
    max_points: int = 20000
    distances: tuple[float, ...] = (6.0, 2.4)
    max_iterations: int = 20
    max_motion: float = 12.0
    max_angle: float = np.radians(10.0)
    min_points: int = 100
    neighbors: int = 20
    information_scale: float = 0.1


class GicpCloud:
    """
    A fragment with the covariances and the search tree that GICP needs.

    Its points are scaled so that a voxel is 2.5 cm: GICP's own constants are in metres.
    """

    def __init__(self, fragment: Fragment, voxel_size: float, config: RefinementConfig) -> None:
        """Thin the fragment and fit a covariance to each point."""
        points = torch.from_numpy(fragment.points)
        rows = voxel_down_sample(points, config.spacing * voxel_size).numpy()
        rows = rows[::1 + len(rows) // config.max_points]
        scaled = fragment.points[rows].astype(np.float64) * (VOXEL_SIZE / voxel_size)
        self.points = small_gicp.PointCloud(scaled)
        self.tree = small_gicp.KdTree(self.points)
        small_gicp.estimate_covariances(self.points, self.tree, config.neighbors)


class Refinement:
    """
    The function that refines one edge after the other; clouds are kept while edges need them.

    fragments, edges: as for `refine_edges`. rows: of the edges that are asked for.
    """

    def __init__(
        self, fragments: Sequence[Fragment], edges: Edges, rows: Sequence[int], voxel_size: float,
        config: RefinementConfig,
    ) -> None:
        """Fit no covariances yet."""
        self._fragments = fragments
        self._edges = edges
        self._voxel_size = voxel_size
        self._config = config
        self._clouds: dict[int, GicpCloud] = {}
        self._needed = Counter(edges.i[rows].tolist()) + Counter(edges.j[rows].tolist())

    def __call__(self, row: int) -> RefinedEdge:
        """Return what GICP makes of an edge from where it is."""
        ends = int(self._edges.i[row]), int(self._edges.j[row])
        target, source = map(self._cloud, ends)
        found = align(target, source, self._edges.T_i_j[row], self._voxel_size, self._config)
        for k in ends:
            self._needed[k] -= 1
            if not self._needed[k]:
                del self._clouds[k]
        return found

    def _cloud(self, k: int) -> GicpCloud:
        if k not in self._clouds:
            raise_if_cancelled()
            self._clouds[k] = GicpCloud(self._fragments[k], self._voxel_size, self._config)
        return self._clouds[k]


def refine_edges(
    fragments: Sequence[Fragment], edges: Edges, voxel_size: float,
    progress: Progress = no_progress, keys: Sequence[str] = (), cache: Cache | None = None,
    config: RefinementConfig | None = None,
) -> Edges:
    """
    Return the edges with T_i_j and information of those in use improved by GICP.

    It starts from T_i_j, and not from the poses, so that what was found once holds whatever other
    fragments come. keys: (S,) what is known in `cache` of each fragment, if anything. An edge
    whose ICP fails keeps what it had.
    """
    config, cache = config or RefinementConfig(), cache or MemoryCache()
    rows = in_order_of_place(len(fragments), edges)
    names, known = list[str](), []
    for row in rows:
        raise_if_cancelled()
        names.append(
            refined_key(keys[edges.i[row]], keys[edges.j[row]], edges.T_i_j[row]) if keys else '')
        known.append(cache.find(names[-1]))
    refine = Refinement(
        fragments, edges, [row for row, found in zip(rows, known, strict=True) if found is None],
        voxel_size, config)
    T_i_j, information = edges.T_i_j.copy(), edges.information.copy()
    for done, (row, name, found) in enumerate(zip(rows, names, known, strict=True), 1):
        if found is None:
            found = refine(row)
            cache.keep(name, found)
        if found.information.any():
            T_i_j[row], information[row] = fuse(
                T_i_j[row], information[row], found.T_i_j, found.information)
        progress('refinement', done, len(rows))
    return replace(edges, T_i_j=T_i_j, information=information)


def in_order_of_place(count: int, edges: Edges) -> list[int]:
    """
    Return the rows of the edges in use so that those of one place come one after the other.

    In whatever order fragments came, few of them have edges both before and after any row (reverse
    Cuthill-McKee), so that few clouds are held at once.
    """
    rows = np.flatnonzero(edges.used)
    graph = adjacency(count, edges.i[rows], edges.j[rows], np.ones(len(rows)))
    rank = np.empty(count, np.int64)
    rank[reverse_cuthill_mckee(graph + graph.T, symmetric_mode=True)] = np.arange(count)
    ends = np.sort(np.stack([rank[edges.i[rows]], rank[edges.j[rows]]]), axis=0)
    order: list[int] = rows[np.lexsort(ends[::-1])].tolist()
    return order


def refined_key(key_i: str, key_j: str, T_i_j: FloatArray) -> str:
    """Return the key of an edge by its fragments and where it starts, '' where one has none."""
    start = sha256(np.ascontiguousarray(T_i_j).tobytes()).hexdigest()
    return f'refined {key_i} {key_j} {start}' if key_i and key_j else ''


def align(
    target: GicpCloud, source: GicpCloud, T_target_source: FloatArray, voxel_size: float,
    config: RefinementConfig,
) -> RefinedEdge:
    """Return T_target_source and its information, which is zero where ICP has strayed."""
    scale = voxel_size / VOXEL_SIZE
    start = T_target_source.copy()
    start[:3, 3] /= scale
    T = start
    for distance in config.distances:
        raise_if_cancelled()
        result = small_gicp.align(
            target.points, source.points, target.tree, T, registration_type='GICP',
            max_correspondence_distance=distance * VOXEL_SIZE,
            max_iterations=config.max_iterations, num_threads=1,
        )
        T = np.array(result.T_target_source)
    motion = np.linalg.inv(start) @ T
    if (
        result.num_inliers < config.min_points
        or rotation_angle(motion[:3, :3]) > config.max_angle
        or np.linalg.norm(motion[:3, 3]) > config.max_motion * VOXEL_SIZE
    ):
        return RefinedEdge(T_target_source, np.zeros((6, 6)))
    T[:3, 3] *= scale
    metres = np.array([1 / scale] * 3 + [1.0] * 3)
    information = config.information_scale * swap_order(np.array(result.H))
    return RefinedEdge(T, metres[:, None] * information * metres)
