# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Iteratively reweighted synchronisation with Cauchy weights (Sec. 3.3, Eq. 14 and 15)."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.synchronization import transf_sync
from mvreg_ros.types import FloatArray
import torch
from torch import Tensor

# The least b of Eq. 14: edges that agree as well as this are all good, and none is divided by 0.
MIN_SCALE = 1e-3


@dataclass(frozen=True)
class IrlsConfig:
    """
    The annealed loop: b of Eq. 14 shrinks to `scale`.

    start: where it begins, in units of `scale`; at the largest residual where that is less. scale:
    residual of a good edge, in the Frobenius norm of Eq. 14; 0.2 is a rotation by 8 degrees, which
    right edges that close long loops are off, where small errors add up. unit: metres that count
    as much as a norm of 1. power: 1 is Eq. 14 as printed, 2 the squared form of its source
    (Arrigoni et al., 2016); see docs/paper.md for the figures. iterations: at most; fewer where b
    is at its least and no entry of a pose moves by `still` any more. inlier: in units of `scale`,
    the residual up to which an edge counts as consistent.
    """

    scale: float = 0.2
    unit: float = 1.0
    start: float = 6.0
    decay: float = 0.85
    iterations: int = 25
    still: float = 1e-6
    power: float = 2.0
    inlier: float = 1.5


def edge_residuals(
    poses: Tensor, i: Tensor, j: Tensor, T_i_j: Tensor, unit: float = 1.0
) -> Tensor:
    """
    Return (E,) r* of Eq. 14: |T_ij - T_map_i^-1 T_map_j|_F, translations in `unit` metres.

    poses: (S, 4, 4) T_map_i; i, j: (E,); T_i_j: (E, 4, 4). The gradient at 0 is 0.
    """
    difference = T_i_j - torch.linalg.inv(poses)[i] @ poses[j]
    scale = difference.new_tensor([1, 1, 1, 1 / unit])
    return torch.linalg.vector_norm(difference * scale, dim=(1, 2))


def cauchy_scale(residual: Tensor, gamma: float) -> Tensor:
    """Return b of Eq. 14, 1.482 gamma med(|r - med r|), not below `MIN_SCALE`, residual (E,)."""
    if not len(residual):
        return residual.new_tensor(MIN_SCALE)
    deviation = (residual - residual.quantile(0.5)).abs()
    return (1.482 * gamma * deviation.quantile(0.5)).clamp(min=MIN_SCALE)


def cauchy_weights(residual: Tensor, b: Tensor | float, power: float) -> Tensor:
    """Return c_global of Eq. 14, 1 / (1 + (r / b)^power)."""
    return 1 / (1 + (residual / b) ** power)


def harmonic_mean(c_local: Tensor, c_global: Tensor, beta: Tensor | float = 1.0) -> Tensor:
    """Return the joint confidence of Eq. 15, 0 where both are 0."""
    total = beta**2 * c_global + c_local
    return (1 + beta**2) * c_global * c_local / torch.where(total > 0, total, 1.0)


@torch.no_grad()
def reweighted_sync(
    count: int, i: Index, j: Index, T_i_j: FloatArray, weight: FloatArray, poses: FloatArray,
    config: IrlsConfig,
) -> FloatArray:
    """
    Return the poses (count, 4, 4) of a connected graph, node 0 at the identity.

    poses: (count, 4, 4) the start. weight: (E,) > 0, how much each edge counts where all agree.
    """
    a, b, T_a_b, c_local, estimate = map(torch.from_numpy, (i, j, T_i_j, weight, poses))
    residual = edge_residuals(estimate, a, b, T_a_b, config.unit)
    start = min(config.start * config.scale, float(residual.max()))
    for iteration in range(config.iterations):
        raise_if_cancelled()
        scale = max(config.scale, start * config.decay**iteration)
        c_global = cauchy_weights(residual, scale, config.power)
        # The floor keeps the graph connected in the eyes of the solver.
        c = c_local * c_global.clamp(min=1e-7)
        before = estimate
        estimate = transf_sync(count, a, b, T_a_b, c, translations='synchronized')
        if scale == config.scale and (estimate - before).abs().max() < config.still:
            break
        residual = edge_residuals(estimate, a, b, T_a_b, config.unit)
    return estimate.numpy()
