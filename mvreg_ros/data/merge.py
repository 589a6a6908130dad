# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The map: the fragments of one component in one frame."""

from __future__ import annotations

from collections.abc import Sequence
import colorsys

from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.types import FloatArray, Fragment, Registration
import numpy as np
from numpy.typing import NDArray
import torch

GOLDEN_RATIO = 0.618034


def transform_points(T: FloatArray, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return points (N, 3) moved by T (4, 4)."""
    return (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def merged_cloud(
    fragments: Sequence[Fragment], registration: Registration, voxel_size: float,
    component: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """
    Return the points of a component in its frame, one per voxel, and the fragment each is from.

    Points (N, 3), fragment ids (N,). Where fragments overlap the one with the lowest id is kept.
    """
    members = list(registration.members(component))
    if not members:
        return np.zeros((0, 3), np.float32), np.zeros(0, np.int64)
    clouds = [transform_points(registration.poses[id], fragments[id].points) for id in members]
    points = np.concatenate(clouds)
    ids = np.repeat(members, [len(cloud) for cloud in clouds])
    rows = voxel_down_sample(torch.from_numpy(points), voxel_size).numpy()
    return points[rows], ids[rows]


def fragment_colors(count: int) -> NDArray[np.uint8]:
    """Return `count` RGB colours (count, 3) of which neighbours are easy to tell apart."""
    colors = [colorsys.hsv_to_rgb(k * GOLDEN_RATIO % 1, 0.65, 0.9) for k in range(count)]
    return (np.array(colors).reshape(-1, 3) * 255).astype(np.uint8)
