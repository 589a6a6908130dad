# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Iteratively reweighted synchronisation with Cauchy weights (Sec. 3.3, Eq. 14)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.synchronization import transf_sync
from mvreg_ros.types import FloatArray


@dataclass(frozen=True)
class IrlsConfig:
    """
    The annealed loop: the scale b of the weights shrinks by `decay` from `start` to 1 times `scale`.

    scale: residual of a good edge, the Frobenius norm of Eq. 14 in which 5 degrees count as much as
    12 cm. power: 1 is Eq. 14 as printed, 2 the form of its source (Arrigoni et al., 2016).
    """

    scale: float = 0.15
    start: float = 6.0
    decay: float = 0.85
    iterations: int = 25
    power: float = 2.0


def edge_residuals(poses: FloatArray, i: Index, j: Index, T_i_j: FloatArray) -> FloatArray:
    """Return (E,) r* of Eq. 14: |T_ij - T_map_i^-1 T_map_j|_F."""
    implied = np.linalg.inv(poses[i]) @ poses[j]
    return np.linalg.norm(T_i_j - implied, axis=(1, 2))


def cauchy_weights(residual: FloatArray, b: float, power: float) -> FloatArray:
    """Return c_global of Eq. 14, 1 / (1 + (r / b)^power)."""
    return 1 / (1 + (residual / b) ** power)


def reweighted_sync(
    count: int, i: Index, j: Index, T_i_j: FloatArray, c_local: FloatArray, poses: FloatArray,
    config: IrlsConfig,
) -> tuple[FloatArray, FloatArray]:
    """
    Return the poses (count, 4, 4) of a connected graph and the c_global (E,) of its edges.

    poses: (count, 4, 4) the start. c_local: (E,) confidence or evidence, any scale, > 0.
    """
    c_global = np.ones(len(i))
    for iteration in range(config.iterations):
        b = config.scale * max(1.0, config.start * config.decay**iteration)
        c_global = cauchy_weights(edge_residuals(poses, i, j, T_i_j), b, config.power)
        poses = transf_sync(count, i, j, T_i_j, np.maximum(c_local * c_global, 1e-7 * c_local))
    return poses, cauchy_weights(edge_residuals(poses, i, j, T_i_j), config.scale, config.power)
