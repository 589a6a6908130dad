# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Iteratively reweighted synchronisation with Cauchy weights (Sec. 3.3, Eq. 14 and 15)."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.synchronization import transf_sync
from mvreg_ros.types import FloatArray
import numpy as np


@dataclass(frozen=True)
class IrlsConfig:
    """
    The annealed loop: b of Eq. 14 shrinks from `start` times `scale` to `scale`.

    scale: residual of a good edge, in the Frobenius norm of Eq. 14; 0.15 is a rotation by 6
    degrees. unit: metres that count as much as a norm of 1. power: 1 is Eq. 14 as printed, 2 the
    squared form of its source (Arrigoni et al., 2016); the default falls off faster still, see
    docs/paper.md for the figures. inlier: in units of `scale`, the residual up to which an edge
    counts as consistent.
    """

    scale: float = 0.15
    unit: float = 1.0
    start: float = 6.0
    decay: float = 0.85
    iterations: int = 25
    power: float = 4.0
    inlier: float = 2.0


def edge_residuals(
    poses: FloatArray, i: Index, j: Index, T_i_j: FloatArray, unit: float = 1.0
) -> FloatArray:
    """Return (E,) r* of Eq. 14: |T_ij - T_map_i^-1 T_map_j|_F, translations in `unit` metres."""
    difference = T_i_j - np.linalg.inv(poses[i]) @ poses[j]
    difference[:, :3, 3] /= unit
    return np.linalg.norm(difference, axis=(1, 2))


def cauchy_weights(residual: FloatArray, b: float, power: float) -> FloatArray:
    """Return c_global of Eq. 14, 1 / (1 + (r / b)^power)."""
    return 1 / (1 + (residual / b) ** power)


def harmonic_mean(c_local: FloatArray, c_global: FloatArray, beta: float = 1.0) -> FloatArray:
    """Return the joint confidence of Eq. 15, 0 where both are 0."""
    total = beta**2 * c_global + c_local
    return (1 + beta**2) * c_global * c_local / np.where(total > 0, total, 1)


def reweighted_sync(
    count: int, i: Index, j: Index, T_i_j: FloatArray, weight: FloatArray, poses: FloatArray,
    config: IrlsConfig,
) -> FloatArray:
    """
    Return the poses (count, 4, 4) of a connected graph, node 0 at the identity.

    poses: (count, 4, 4) the start. weight: (E,) > 0, how much each edge counts where all agree.
    """
    for iteration in range(config.iterations):
        b = config.scale * max(1.0, config.start * config.decay**iteration)
        residual = edge_residuals(poses, i, j, T_i_j, config.unit)
        c_global = cauchy_weights(residual, b, config.power)
        # The floor keeps the graph connected in the eyes of the solver.
        poses = transf_sync(count, i, j, T_i_j, weight * np.maximum(c_global, 1e-7))
    return poses
