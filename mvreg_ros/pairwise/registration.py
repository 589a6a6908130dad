# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pairwise registration (Sec. 3.1): weights from psi, the pose from Eq. 4, its confidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.pairwise.confidence import inlier_confidence, inliers_worth
from mvreg_ros.pairwise.evidence import counted, evidence_for, NAMES
from mvreg_ros.pairwise.fine_registration import fine_registration
from mvreg_ros.pairwise.information import correspondence_information
from mvreg_ros.pairwise.matching import match
from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
from mvreg_ros.pairwise.visibility import visibility
from mvreg_ros.types import Correspondences, FragmentFeatures, PairRegistration
import torch
from torch import Tensor


@dataclass(frozen=True)
class PairwiseRegistration:
    """
    Registers a pair of described fragments.

    psi_init: weights (M, K) of the correspondences (Eq. 4) for one or more motions, the best
    first. inlier_distance: metres within which a correspondence agrees with a pose. zeta: logits
    of the confidence from the evidence for poses, see `evidence_for`. min_similarity: of matches;
    where fewer than `least_matches` reach it, as between fragments that were seen from far away,
    the so many that are most alike are taken. refits: rounds in which the weights follow the
    residuals of the last pose, as psi_iter's do. checked_inliers: poses with fewer are too weak to
    be used, and are not held against what the sensors saw.
    """

    psi_init: Callable[[Correspondences], Tensor]
    inlier_distance: float
    zeta: Callable[[Tensor], Tensor] = counted
    min_similarity: float = -1.0
    least_matches: int = 200
    refits: int = 3
    checked_inliers: int = 15

    def __call__(
        self, i: int, j: int, features_i: FragmentFeatures, features_j: FragmentFeatures
    ) -> PairRegistration:
        """Return the T_i_j with most evidence; without any, the identity with confidence 0."""
        pair = self.matches(i, j, features_i, features_j)
        raise_if_cancelled()
        found = self.poses(pair, features_i, features_j)
        evidence = self.evidence(found, pair, features_i, features_j)
        if not len(evidence):
            return found[0]
        worth = [inliers_worth(logit) for logit in self.zeta(evidence).tolist()]
        best = max(range(len(worth)), key=worth.__getitem__)
        return replace(found[best], evidence=worth[best],
                       confidence=float(inlier_confidence(worth[best])))

    def matches(
        self, i: int, j: int, features_i: FragmentFeatures, features_j: FragmentFeatures
    ) -> Correspondences:
        """Return the matches that a pose is looked for in."""
        return match(i, j, features_i, features_j, self.min_similarity, self.least_matches)

    def evidence(
        self, found: list[PairRegistration], pair: Correspondences,
        features_i: FragmentFeatures, features_j: FragmentFeatures,
    ) -> Tensor:
        """Return (M, C) what speaks for the first M poses, those with inliers enough."""
        rows = []
        for k, pose in enumerate(found):
            if pose.inliers < self.checked_inliers:
                break
            raise_if_cancelled()
            rival = max((other.inliers for other in found[:k] + found[k + 1:]), default=0)
            T = torch.from_numpy(pose.T_i_j)
            rows.append(evidence_for(
                pair, features_i, features_j, T,
                residuals(T.to(pair.points_i), pair.points_j, pair.points_i),
                rival / pose.inliers,
                visibility(features_i, features_j, T, self.inlier_distance),
                self.inlier_distance))
        return torch.stack(rows) if rows else torch.zeros(0, len(NAMES))

    def poses(
        self, pair: Correspondences, features_i: FragmentFeatures, features_j: FragmentFeatures
    ) -> list[PairRegistration]:
        """Return the estimates, those with inliers enough to the last centimetres."""
        return [
            replace(pose, T_i_j=fine_registration(
                pose.T_i_j, pair, features_i, features_j, self.inlier_distance))
            if pose.inliers >= self.checked_inliers else pose for pose in self.estimates(pair)]

    def estimates(self, pair: Correspondences) -> list[PairRegistration]:
        """Return the relative poses that correspondences support, the most inliers first."""
        # What is small and delicate is done on the CPU in double precision.
        weights, source, target = (
            x.to('cpu', torch.float64) for x in (self.psi_init(pair), pair.points_j, pair.points_i)
        )
        found = [self.estimate(pair, w, source, target) for w in weights]
        return sorted(found, key=lambda pose: -pose.inliers)

    def estimate(
        self, pair: Correspondences, weights: Tensor, source: Tensor, target: Tensor
    ) -> PairRegistration:
        """Return the relative pose that follows from the first weights (K,)."""
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
