# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pairwise registration (Sec. 3.1): weights from psi, the pose from Eq. 4, its confidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mvreg_ros.pairwise.confidence import inlier_confidence, undisputed
from mvreg_ros.pairwise.information import correspondence_information
from mvreg_ros.pairwise.matching import match
from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
from mvreg_ros.pairwise.visibility import contradiction
from mvreg_ros.types import Correspondences, FragmentFeatures, PairRegistration
import torch
from torch import Tensor


@dataclass(frozen=True)
class PairwiseRegistration:
    """
    Registers a pair of described fragments.

    psi_init: weights of the correspondences (Eq. 4). inlier_distance: metres within which a
    correspondence agrees with a pose. refits: rounds in which the weights follow the residuals of
    the last pose, as psi_iter's do. checked_inliers: poses with fewer are too weak to be used, and
    are not held against what the sensors saw.
    """

    psi_init: Callable[[Correspondences], Tensor]
    inlier_distance: float
    refits: int = 3
    checked_inliers: int = 20

    def __call__(
        self, i: int, j: int, features_i: FragmentFeatures, features_j: FragmentFeatures
    ) -> PairRegistration:
        """Return T_i_j; where nothing supports one, the identity with confidence 0."""
        found = self.estimate(match(i, j, features_i, features_j))
        if found.inliers < self.checked_inliers:
            return found
        share = contradiction(
            features_i, features_j, torch.from_numpy(found.T_i_j), self.inlier_distance
        )
        evidence = found.inliers * undisputed(share)
        return replace(found, evidence=evidence, confidence=float(inlier_confidence(evidence)))

    def estimate(self, pair: Correspondences) -> PairRegistration:
        """Return the relative pose that the correspondences support, with no further check."""
        # What is small and delicate is done on the CPU in double precision.
        weights, source, target = (
            x.to('cpu', torch.float64) for x in (self.psi_init(pair), pair.points_j, pair.points_i)
        )
        T, valid = weighted_procrustes(source, target, weights)
        for _ in range(self.refits):
            weights = psi_iter(residuals(T, source, target), self.inlier_distance) * valid
            T, valid = weighted_procrustes(source, target, weights)
        agree = residuals(T, source, target) < self.inlier_distance
        inliers = int((agree & valid).sum())
        # A correspondence is as exact as the keypoints are dense, half the inlier distance.
        information = correspondence_information(source, weights, self.inlier_distance / 2)
        return PairRegistration(
            pair.i, pair.j, T.numpy(), inliers, float(inliers),
            float(inlier_confidence(inliers)), information.numpy(),
        )


def psi_iter(residual: Tensor, inlier_distance: float) -> Tensor:
    """Return the weights (K,) that follow from residuals (K,), metres: 1 at 0, 0 for outliers."""
    return (1 - (residual / inlier_distance).square()).clamp(min=0)
