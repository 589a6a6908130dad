# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Poses with information: gtsam's and small_gicp's order, and the fusion of two estimates.

An information matrix here is the inverse covariance of a small motion applied on the right of
T_i_j, in the frame of fragment j, translation (m) before rotation (rad). gtsam and small_gicp put
the rotation first.
"""

from __future__ import annotations

import gtsam
from mvreg_ros.types import FloatArray
import numpy as np

ROTATION_FIRST = np.array([3, 4, 5, 0, 1, 2])


def swap_order(matrix: FloatArray) -> FloatArray:
    """Return (..., 6, 6) with the translation and the rotation half exchanged, either way."""
    return matrix[..., ROTATION_FIRST[:, None], ROTATION_FIRST]


def fuse(
    T_a: FloatArray, information_a: FloatArray, T_b: FloatArray, information_b: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the mean of two estimates of one pose, weighted by their information, and the sum."""
    information = information_a + information_b
    step = gtsam.Pose3(T_a).localCoordinates(gtsam.Pose3(T_b))[ROTATION_FIRST]
    mean = np.linalg.solve(information, information_b @ step)
    return gtsam.Pose3(T_a).retract(mean[ROTATION_FIRST]).matrix(), information
