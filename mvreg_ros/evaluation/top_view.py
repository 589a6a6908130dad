# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The view from above on a map whose frame may lie any way: a first camera's frame mostly does."""

from __future__ import annotations

from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

SAMPLE = 20000
NEIGHBORS = 12
CONE = np.cos(np.radians(30))
# Right, up in the picture, and towards the viewer, by the axis that is vertical: cameras look
# along z with y down, robots have z up.
PICTURE_AXES = {0: [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
                1: [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
                2: [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}


def top_view(points: NDArray) -> FloatArray:
    """
    Return the rotation (3, 3) from the frame of `points` (N, 3) to a picture from above.

    Its rows point right, up in the picture and at the viewer. The axes of the frame stay visible:
    the frame is only tilted until one of its axes is vertical.
    """
    if len(points) < NEIGHBORS:
        return np.eye(3)
    up = vertical(points)
    axis = int(np.abs(up).argmax())
    up *= np.sign(up[axis])
    # The shortest rotation of `up` onto the axis, which adds no turn about it.
    tilt = Rotation.from_quat([*np.cross(up, np.eye(3)[axis]), 1 + up[axis]])
    return np.array(PICTURE_AXES[axis], float) @ tilt.as_matrix()


def vertical(points: NDArray) -> FloatArray:
    """
    Return the direction (3,), of either sign, that floors and tables of a building are normal to.

    Buildings are wider than high, so the direction of least spread is near it; the normals near
    that direction then tell it exactly.
    """
    sample = points[::-(-len(points) // SAMPLE)].astype(np.float64)
    up = np.linalg.eigh(np.cov(sample.T))[1][:, 0]
    _, rows = cKDTree(sample).query(sample, NEIGHBORS)
    offsets = sample[rows] - sample[rows].mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(offsets.transpose(0, 2, 1) @ offsets)[1][:, :, 0]
    for _ in range(3):
        near = normals[np.abs(normals @ up) > CONE]
        if len(near):
            up = np.linalg.eigh(near.T @ near)[1][:, 2]
    return up
