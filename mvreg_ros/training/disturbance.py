# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Errors that simulated fragments get on top in training.

Fused from exact poses and pixels that err one by one they are smoother than real ones are: see
docs/model_card.md.
"""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.types import FloatArray, Fragment
import numpy as np
import torch

# The number of what follows here, for files that depend on it: one more after each change.
DISTURBANCE = 1
# All lengths are metres at voxels of 2.5 cm. Along the line of sight: at a range of 1 m, growing
# with its square; half of the variance is common to neighbours.
LARGEST_DEPTH_ERROR, NEAREST, FARTHEST = 0.004, 0.7, 2.5
COMMON_CELL = 0.06
# In all directions.
LARGEST_NOISE = 0.002
# Half of the fragments lose up to so large a share of their points.
LARGEST_LOSS = 0.4


def disturbed_points(
    fragment: Fragment, rng: np.random.Generator, voxel_size: float
) -> FloatArray:
    """Return the points (M, 3) that are left of a fragment, with errors, in its own frame."""
    scale = voxel_size / 0.025
    points = fragment.points + depth_errors(fragment, rng, scale)
    points = points + rng.normal(0, rng.uniform(0, LARGEST_NOISE * scale), points.shape)
    if rng.random() < 0.5:
        points = points[rng.random(len(points)) < rng.uniform(1 - LARGEST_LOSS, 1)]
    return points


def depth_errors(fragment: Fragment, rng: np.random.Generator, scale: float) -> FloatArray:
    """Return errors (N, 3) along the lines of sight, in metres times `scale`."""
    sight = fragment.points - fragment.sensor_origin.astype(float)
    distance = np.linalg.norm(sight, axis=1, keepdims=True)
    cells = np.floor(fragment.points / (COMMON_CELL * scale)).astype(np.int64)
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    common = rng.normal(size=cell.max() + 1)[cell.reshape(-1)]
    noise = np.sqrt(0.5) * (common + rng.normal(size=len(sight)))
    growth = np.clip(distance / scale, NEAREST, FARTHEST) ** 2
    size = rng.uniform(0, LARGEST_DEPTH_ERROR) * scale * growth
    return size * noise[:, None] * sight / np.maximum(distance, 1e-9)


def disturbed(fragment: Fragment, scene: str, k: int, voxel_size: float) -> Fragment:
    """Return fragment k of a scene with errors, always the same ones, thinned to the voxel."""
    rng = np.random.default_rng([*scene.encode(), k, 1])
    points = disturbed_points(fragment, rng, voxel_size).astype(np.float32)
    rows = voxel_down_sample(torch.from_numpy(points), voxel_size)
    return replace(fragment, points=points[rows.numpy()])
