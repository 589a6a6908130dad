# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Errors of absolute poses, which are only known up to the frame they are given in."""

from __future__ import annotations

from mvreg_ros.types import FloatArray
import numpy as np
from scipy.spatial.transform import Rotation


def best_alignment(truth: FloatArray, poses: FloatArray) -> FloatArray:
    """
    Return T_world_map, (4, 4), for which T_world_map @ poses comes closest to `truth`.

    truth: (S, 4, 4) T_world_fragment. poses: (S, 4, 4) T_map_fragment. S >= 1. The rotation is the
    chordal mean (Hartley et al. 2013, "Rotation averaging") of what each pose asks for, the
    translation then the mean of what is left; a fit of positions would need three of them.
    """
    rotations = truth[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)
    T_world_map = np.eye(4)
    T_world_map[:3, :3] = Rotation.from_matrix(rotations).mean().as_matrix()
    T_world_map[:3, 3] = np.mean(truth[:, :3, 3] - poses[:, :3, 3] @ T_world_map[:3, :3].T, axis=0)
    return T_world_map


def absolute_errors(
    truth: FloatArray, poses: FloatArray, T_world_map: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the rotation errors (degrees) and position errors (m), (S,), of aligned `poses`."""
    poses = T_world_map @ poses
    rotation = truth[:, :3, :3].transpose(0, 2, 1) @ poses[:, :3, :3]
    return (
        np.rad2deg(Rotation.from_matrix(rotation).magnitude()),
        np.linalg.norm(truth[:, :3, 3] - poses[:, :3, 3], axis=1),
    )
