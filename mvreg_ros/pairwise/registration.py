# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pairwise registration: weights from psi, the pose from Eq. 4, the confidence from zeta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
from mvreg_ros.types import Correspondences, PairRegistration


@dataclass(frozen=True)
class PairwiseRegistration:
    """
    Registers a pair from its putative correspondences.

    psi_init: weights of the correspondences (Eq. 4). inlier_distance: metres. refits: rounds in
    which the weights follow the residuals of the last pose, as psi_iter's do. confidence: zeta, from
    the number of inliers to [0, 1].
    """

    psi_init: Callable[[Correspondences], Tensor]
    confidence: Callable[[int], float]
    inlier_distance: float
    refits: int = 3

    def __call__(self, pair: Correspondences) -> PairRegistration:
        """Return the relative pose of a pair; with no support at all, the identity and 0."""
        weights = self.psi_init(pair)
        source, target = pair.points_j.double(), pair.points_i.double()
        T, valid = weighted_procrustes(source, target, weights.double())
        for _ in range(self.refits if bool(valid) else 0):
            weights = psi_iter(residuals(T, source, target), self.inlier_distance)
            refit, better = weighted_procrustes(source, target, weights)
            if not bool(better):
                break
            T = refit
        inliers = int((residuals(T, source, target) < self.inlier_distance).sum()) * int(valid)
        return PairRegistration(
            pair.i, pair.j, T.cpu().numpy(), weights, inliers, self.confidence(inliers)
        )


def psi_iter(residual: Tensor, inlier_distance: float) -> Tensor:
    """Return the weights (K,) that follow from residuals (K,), metres: 1 at 0, 0 for outliers."""
    return (1 - (residual / inlier_distance).square()).clamp(min=0)


def inlier_confidence(inliers: int, half: float = 24.0, slope: float = 2.6) -> float:
    """
    Return the local confidence (Eq. 13's place) of a pose with so many inliers.

    half: the count at which a pose is as likely right as wrong; slope: how fast that changes.
    """
    return float(1 / (1 + (half / max(inliers, 1e-3)) ** slope))
