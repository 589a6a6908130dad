# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Refinement of the edges in use: generalised ICP from the synchronised poses.

ICP alone slides along walls and along repeated structure; correspondences alone are as coarse as
the keypoints. Each edge is therefore the mean of both, weighted by what each knows of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.multiview.se3 import fuse, swap_order
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import Edges, FloatArray, Fragment, no_progress, Progress
import numpy as np
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


def refine_edges(
    fragments: Sequence[Fragment], edges: Edges, poses: FloatArray, voxel_size: float,
    progress: Progress = no_progress, config: RefinementConfig | None = None,
) -> Edges:
    """
    Return the edges with T_i_j and information of those in use improved by GICP.

    poses: (S, 4, 4), where ICP starts from. An edge whose ICP fails keeps what it had.
    """
    config = config or RefinementConfig()
    rows = np.flatnonzero(edges.used)
    clouds: dict[int, GicpCloud] = {}
    T_i_j, information = edges.T_i_j.copy(), edges.information.copy()
    for done, row in enumerate(rows):
        i, j = int(edges.i[row]), int(edges.j[row])
        for k in {i, j} - clouds.keys():
            raise_if_cancelled()
            clouds[k] = GicpCloud(fragments[k], voxel_size, config)
        start = np.linalg.inv(poses[i]) @ poses[j]
        found = align(clouds[i], clouds[j], start, voxel_size, config)
        if found is not None:
            T_i_j[row], information[row] = fuse(T_i_j[row], information[row], *found)
        progress('refinement', done + 1, len(rows))
    return replace(edges, T_i_j=T_i_j, information=information)


def align(
    target: GicpCloud, source: GicpCloud, T_target_source: FloatArray, voxel_size: float,
    config: RefinementConfig,
) -> tuple[FloatArray, FloatArray] | None:
    """Return T_target_source and its information (6, 6), or None where ICP has strayed."""
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
        return None
    T[:3, 3] *= scale
    metres = np.array([1 / scale] * 3 + [1.0] * 3)
    information = config.information_scale * swap_order(np.array(result.H))
    return T, metres[:, None] * information * metres
