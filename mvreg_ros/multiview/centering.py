# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Frames in the middle of the fragments, for the time of a registration.

A small rotation moves what is far from the origin a long way: residuals and the optimisation would
depend on where somebody put the origin of a fragment's frame. T_map_fragment and T_map_centre
differ by the translation to the centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gtsam
from mvreg_ros.multiview.se3 import swap_order
from mvreg_ros.types import Edges, FloatArray, Fragment
import numpy as np


def centered(fragment: Fragment) -> tuple[Fragment, FloatArray]:
    """Return the fragment with its centroid at the origin, and the centroid (3,), metres."""
    center = fragment.points.mean(0, dtype=np.float64)
    odometry = fragment.T_odom_fragment
    return replace(
        fragment, T_odom_fragment=None if odometry is None else odometry @ shift([center])[0],
        points=(fragment.points - center).astype(np.float32),
        sensor_origin=(fragment.sensor_origin - center).astype(np.float32),
    ), center


def shift(centers: Sequence[FloatArray] | FloatArray) -> FloatArray:
    """Return (S, 4, 4) T_fragment_centre: the translations to the centres (S, 3)."""
    T = np.tile(np.eye(4), (len(centers), 1, 1))
    T[:, :3, 3] = centers
    return T


def restored(
    poses: FloatArray, covariances: FloatArray, edges: Edges, centers: FloatArray
) -> tuple[FloatArray, FloatArray, Edges]:
    """
    Return poses, covariances and edges of centred frames as those of the fragments' own frames.

    centers: (S, 3) in the fragments' frames. A motion seen from another point of the same body is
    changed by the adjoint of the way there.
    """
    T_fragment_center = shift(centers)
    back = np.linalg.inv(T_fragment_center)
    adjoint = np.array([
        swap_order(gtsam.Pose3(T).AdjointMap()) for T in T_fragment_center
    ]).reshape(-1, 6, 6)
    inverse = np.linalg.inv(adjoint)
    j = edges.j
    return (
        poses @ back,
        adjoint @ covariances @ adjoint.transpose(0, 2, 1),
        replace(
            edges, T_i_j=T_fragment_center[edges.i] @ edges.T_i_j @ back[j],
            information=inverse[j].transpose(0, 2, 1) @ edges.information @ inverse[j],
        ),
    )
