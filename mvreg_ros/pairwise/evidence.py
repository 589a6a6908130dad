# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What speaks for a relative pose and what against it, and the probability that it is right.

This is the confidence block (Eq. 13) of method `consistency`: an MLP again, but on what geometry
says about a pose rather than on pooled features, since few scenes are enough to learn that from.
"""

from __future__ import annotations

import math

from mvreg_ros.pairwise.confidence import HALF, SLOPE, undisputed
from mvreg_ros.pairwise.visibility import Visibility
from mvreg_ros.types import Correspondences, FragmentFeatures
import numpy as np
from scipy.optimize import minimize
import torch
from torch import nn, Tensor

NAMES = (
    'log inliers', 'log matches', 'inlier ratio', 'mean residual', 'log rivals',
    'log agreeing', 'log contradicting', 'contradiction', 'overlap',
    'normals', 'similarity of inliers', 'similarity of matches',
    'log spread 1', 'log spread 2', 'log spread 3', 'normals spread 1', 'normals spread 2',
)
LARGEST_INPUT = 4.0  # deviations from the mean
# Of scale and shift; beyond, the poses to calibrate with are too few or not of this world.
PLATT_BOUNDS = (0.1, 10.0), (-5.0, 5.0)


def evidence_for(
    pair: Correspondences, features_i: FragmentFeatures, features_j: FragmentFeatures,
    T_i_j: Tensor, residual: Tensor, rival: float, seen: Visibility, inlier_distance: float,
) -> Tensor:
    """
    Return the evidence for a pose, (len(NAMES),) float32; no unit is left in it.

    residual: (K,) metres of the correspondences. rival: how many agree with the best motion that
    is quite another, as a multiple of those that agree with this one.
    """
    T, residual = T_i_j.float().cpu(), residual.float().cpu()
    agree = residual < inlier_distance
    inliers = int(agree.sum())
    rows_i, rows_j = pair.rows_i.cpu(), pair.rows_j.cpu()
    normals_i = features_i.normals.cpu()[rows_i[agree]]
    normals_j = features_j.normals.cpu()[rows_j[agree]] @ T[:3, :3].T
    described_i, described_j = features_i.descriptors.cpu(), features_j.descriptors.cpu()
    similarity = (described_i[rows_i] * described_j[rows_j]).sum(1)
    places = pair.points_i.cpu()[agree]
    spread = torch.linalg.eigvalsh((places - places.mean(0)).T.double().cov(correction=0))
    spread = spread.clamp(min=0).sqrt() / inlier_distance
    facing = torch.linalg.eigvalsh((normals_i.T @ normals_i).double() / inliers)
    matches, compared = len(residual), seen.agree + seen.contradict
    return torch.tensor([
        math.log1p(inliers), math.log1p(matches), inliers / matches,
        float(residual[agree].mean()) / inlier_distance, math.log1p(rival),
        math.log1p(seen.agree), math.log1p(seen.contradict), seen.contradict / max(1, compared),
        seen.agree / max(1, seen.points),
        float((normals_i * normals_j).sum(1).mean()),
        float(similarity[agree].mean()), float(similarity.mean()),
        *(math.log1p(float(s)) for s in spread), float(facing[0]), float(facing[1]),
    ])


def counted(evidence: Tensor) -> Tensor:
    """Return logits (N,) from inliers and contradictions alone: nothing is learned."""
    inliers = evidence[:, NAMES.index('log inliers')].expm1()
    left = undisputed(evidence[:, NAMES.index('contradiction')])
    return SLOPE * (inliers * left / HALF).log()


class EvidenceNetwork(nn.Module):
    """
    The MLP from evidence to the logit of the probability that a pose is right.

    It is used together with the count, by `confidence`: each doubts what the other cannot see
    through, the count a pose unlike all that was learned from, the network one that fits many
    points of a room that repeats itself.
    """

    def __init__(self, hidden: int = 32) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer('mean', torch.zeros(len(NAMES)))
        self.register_buffer('deviation', torch.ones(len(NAMES)))
        self.platt: Tensor
        self.register_buffer('platt', torch.tensor([1.0, 0.0]))
        self.mlp = nn.Sequential(
            nn.Linear(len(NAMES), hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1))

    @torch.no_grad()
    def begin_with(self, evidence: Tensor) -> None:
        """Take over mean and spread of evidence (N, len(NAMES))."""
        self.mean.copy_(evidence.mean(0))
        self.deviation.copy_(evidence.std(0) + 1e-3)

    def forward(self, evidence: Tensor) -> Tensor:
        """Return logits (N,) of evidence (N, len(NAMES))."""
        x = (evidence - self.mean) / self.deviation
        return self.mlp(x.clamp(-LARGEST_INPUT, LARGEST_INPUT))[:, 0]

    def confidence(self, evidence: Tensor) -> Tensor:
        """Return logits (N,): the mean of the network's and of `counted`, calibrated."""
        scale, shift = self.platt
        return scale * (self(evidence) + counted(evidence)) / 2 + shift

    def calibrate(self, evidence: Tensor, right: Tensor) -> None:
        """
        Scale and shift `confidence` to be most likely for poses not learned from (Platt).

        right: (N,) 1 or 0. Without poses of both kinds it stays as it is.
        """
        self.platt.copy_(torch.tensor([1.0, 0.0]))
        if len(right.unique()) < 2:
            return
        with torch.no_grad():
            logits = self.confidence(evidence).double().cpu().numpy()
        sign = 2 * right.cpu().numpy() - 1
        self.platt.copy_(torch.from_numpy(minimize(
            lambda platt: np.logaddexp(0, -sign * (platt[0] * logits + platt[1])).sum(),
            [1.0, 0.0], bounds=PLATT_BOUNDS).x))
