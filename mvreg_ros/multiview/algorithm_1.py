# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Alg. 1: the pairs and the graph, each correcting the other for four rounds (Sec. 3.3).

``P`` is the number of pairs, i < j, ``K`` of correspondences, ``S`` of scans. All of it can be
differentiated. Where the printed algorithm is not clear, docs/paper.md says how it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mvreg_ros.multiview.graph import components
from mvreg_ros.multiview.irls import (
    cauchy_scale,
    cauchy_weights,
    edge_residuals,
    harmonic_mean,
)
from mvreg_ros.multiview.synchronization import transf_sync
from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
from mvreg_ros.pairwise.registration_block import correspondence_weights
import torch
from torch import Tensor

# What a sigmoid in float32 rounds to zero must not cut the graph.
MIN_CONFIDENCE = 1e-6


@dataclass(frozen=True)
class Gamma:
    """
    The putative correspondences of many pairs, padded to one length.

    i, j: (P,) int64 scans, i < j. points_i: (P, K, 3) p_l in the frame of scan i. points_j:
    (P, K, 3) phi(p_l, S_j) in the frame of scan j. mask: (P, K) False where padded.
    """

    i: Tensor
    j: Tensor
    points_i: Tensor
    points_j: Tensor
    mask: Tensor


@dataclass(frozen=True)
class PairEstimate:
    """
    What a registration block makes of the pairs.

    T_i_j: (P, 4, 4). valid: (P,) bool, False where the weights determine no pose. logits, weights:
    (P, K) before and after tanh(ReLU). confidence: (P,) logits of c_local.
    """

    T_i_j: Tensor
    valid: Tensor
    logits: Tensor
    weights: Tensor
    confidence: Tensor

    @property
    def c_local(self) -> Tensor:
        """(P,) Eq. 13, 0 where there is no pose."""
        return self.confidence.sigmoid() * self.valid


@dataclass(frozen=True)
class Round:
    """
    A round of Alg. 1.

    pairs: the pairwise estimates it began with. poses: (S, 4, 4) T_map_i, each component with its
    first scan at the identity. component: (S,) int64, -1 a scan alone. T_i_j: (P, 4, 4) implied by
    the poses, or the pair's own where they imply none. kept: (P,) bool, the pairs that took part.
    c_global: (P,) Eq. 14. c: (P,) Eq. 15, 0 where the poses imply none.
    """

    pairs: PairEstimate
    poses: Tensor
    component: Tensor
    T_i_j: Tensor
    kept: Tensor
    c_global: Tensor
    c: Tensor


Psi = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Zeta = Callable[[Tensor, Tensor, Tensor], Tensor]


class Blocks(Protocol):
    """The learned parts that Alg. 1 calls."""

    @property
    def psi_init(self) -> Psi:
        """Return logits (P, K) and features (P, K, C) of x (P, K, 6) and a mask (P, K)."""

    @property
    def psi_iter(self) -> Psi:
        """Return the same of x (P, K, 8), with residuals and weights."""

    @property
    def zeta(self) -> Zeta:
        """Return logits (P,) of c_local of features, weights (P, K) and a mask."""

    @property
    def beta(self) -> Tensor:
        """Return the weight of the local confidence in Eq. 15."""


@dataclass(frozen=True)
class Algorithm1Config:
    """
    The numbers of Alg. 1.

    iterations: rounds. synchronizations: runs of Transf-Sync in a round (B.4). prune: edges with
    less c_local take no part (tau_p), 0 in training. gamma: of Eq. 14. power: 1 is Eq. 14 as
    printed, 2 its source.
    """

    iterations: int = 4
    synchronizations: int = 4
    prune: float = 0.0
    gamma: float = 2.385
    power: float = 2.0


Evaluate = Callable[[Callable[..., PairEstimate], tuple[Tensor, ...]], PairEstimate]


def all_at_once(
    function: Callable[..., PairEstimate], pairs: tuple[Tensor, ...]
) -> PairEstimate:
    """Apply a function to all pairs in one batch."""
    return function(*pairs)


def algorithm_1(
    blocks: Blocks, gamma: Gamma, count: int, config: Algorithm1Config,
    evaluate: Evaluate = all_at_once,
) -> tuple[PairEstimate, list[Round]]:
    """
    Return the estimates of psi_init and the rounds that follow.

    count: scans. evaluate: applies a function to (P, ...) tensors; it may cut them along P to save
    memory.
    """
    i, j, original = gamma.i, gamma.j, (gamma.points_i, gamma.points_j, gamma.mask)
    x = torch.cat([gamma.points_i, gamma.points_j], 2)  # X = cat([S_i, phi(S_i, S_j)])
    initial = evaluate(partial(estimate, blocks.psi_init, blocks.zeta), (x, *original))
    w, r = initial.weights, distances(initial.T_i_j, gamma)
    rounds: list[Round] = []
    for k in range(config.iterations):
        x = torch.cat([x, r[..., None], w[..., None]], 2)
        pairs = evaluate(partial(estimate, blocks.psi_iter, blocks.zeta), (x, *original))  # Eq. 7
        c_local = pairs.c_local
        c = c_local if k == 0 else harmonic_mean(c_local, rounds[-1].c_global, blocks.beta)
        kept = pairs.valid & (c_local >= config.prune)
        for _ in range(config.synchronizations):
            poses, component = synchronize_parts(count, i, j, pairs.T_i_j, c, kept)
            linked = (component[i] == component[j]) & (component[i] >= 0)
            residual = edge_residuals(poses, i, j, pairs.T_i_j) * linked
            b = cauchy_scale(residual[kept], config.gamma)
            c_global = cauchy_weights(residual, b, config.power)  # Eq. 14
            c = harmonic_mean(c_local, c_global, blocks.beta)  # Eq. 15
        T = torch.where(linked[:, None, None], relative_poses(poses, i, j), pairs.T_i_j)
        rounds.append(Round(pairs, poses, component, T, kept, c_global, c * linked))
        # X = cat([S_i, M*_ij (x) phi(S_i, S_j)])
        x = torch.cat([gamma.points_i, transform(T, gamma.points_j)], 2)
        w, r = pairs.weights, distances(T, gamma)
    return initial, rounds


def estimate(
    psi: Psi, zeta: Zeta, x: Tensor, points_i: Tensor, points_j: Tensor, mask: Tensor,
) -> PairEstimate:
    """Return weights w = psi(x), the poses that they give the correspondences, and c_local."""
    logits, features = psi(x, mask)
    logits = logits.to(x.dtype)  # from half precision, where the blocks run in it
    weights = correspondence_weights(logits, mask)
    T_i_j, valid = weighted_procrustes(points_j.double(), points_i.double(), weights.double())
    confidence = zeta(features, weights, mask).to(x.dtype)
    return PairEstimate(T_i_j, valid, logits, weights, confidence)


def synchronize_parts(
    count: int, i: Tensor, j: Tensor, T_i_j: Tensor, c: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """
    Return poses (count, 4, 4) and the component (count,) of each scan, -1 and identity for none.

    The components of the graph of the edges `kept`, (P,) bool, are synchronised each on its own.
    """
    a, b = i[kept].cpu().numpy(), j[kept].cpu().numpy()
    component = torch.from_numpy(components(count, a, b)).to(i.device)
    poses = torch.eye(4, dtype=T_i_j.dtype, device=T_i_j.device).repeat(count, 1, 1)
    for label in range(int(component.max()) + 1):
        nodes = (component == label).nonzero()[:, 0]
        rows = kept & (component[i] == label)
        part = transf_sync(
            len(nodes), torch.searchsorted(nodes, i[rows]), torch.searchsorted(nodes, j[rows]),
            T_i_j[rows], c[rows].clamp(min=MIN_CONFIDENCE),
        )
        poses = poses.index_copy(0, nodes, part)
    return poses, component


def relative_poses(poses: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Return (P, 4, 4) T_i_j = T_map_i^-1 T_map_j."""
    return torch.linalg.inv(poses[i]) @ poses[j]


def distances(T_i_j: Tensor, gamma: Gamma) -> Tensor:
    """Return r (P, K): the distances of correspondences under the poses, metres, 0 in padding."""
    r = residuals(T_i_j.to(gamma.points_i.dtype), gamma.points_j, gamma.points_i)
    return r * gamma.mask


def transform(T: Tensor, points: Tensor) -> Tensor:
    """Return T (P, 4, 4) applied to points (P, K, 3), in the dtype of the points."""
    T = T.to(points.dtype)
    return points @ T[:, :3, :3].transpose(1, 2) + T[:, None, :3, 3]
