# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pairwise registration (Sec. 3.1): weights from psi, the pose from Eq. 4, its confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import math

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.pairwise.confidence import inlier_confidence, inliers_worth
from mvreg_ros.pairwise.evidence import counted, evidence_for, NAMES
from mvreg_ros.pairwise.fine_registration import fine_registration, inliers
from mvreg_ros.pairwise.information import correspondence_information
from mvreg_ros.pairwise.matching import in_context, match, similar
from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
from mvreg_ros.pairwise.visibility import visibility
from mvreg_ros.types import Correspondences, FloatArray, FragmentFeatures, PairRegistration
import numpy as np
import torch
from torch import Tensor

# Fewer similar matches than fix a motion say nothing of it.
LEAST_EVIDENCE = 3
# Inlier distances and radians within which two poses are one.
SAME_DISTANCE, SAME_ANGLE = 2.0, math.radians(6)


@dataclass(frozen=True)
class PairwiseRegistration:
    """
    Registers a pair of described fragments.

    psi_init: weights (M, K) of the correspondences (Eq. 4) for one or more motions, the best
    first. inlier_distance: metres within which a correspondence agrees with a pose. zeta: logits
    of the confidence from the evidence for poses, see `evidence_for`. min_similarity: of matches
    that count as evidence. least_matches: where fewer are so similar, as between fragments that
    were seen from far away, a pose is looked for in the so many that are most alike. refits:
    rounds in which the weights follow the residuals of the last pose, as psi_iter's do.
    checked_inliers: poses with fewer are too weak to be used, and are not held against what the
    sensors saw. clear_inliers: where a motion has so many, no other is sought by the keypoints
    with what is around them.
    """

    psi_init: Callable[[Correspondences], Tensor]
    inlier_distance: float
    zeta: Callable[[Tensor], Tensor] = counted
    min_similarity: float = -1.0
    least_matches: int = 200
    refits: int = 3
    checked_inliers: int = 15
    clear_inliers: int = 35

    def __call__(
        self, i: int, j: int, features_i: FragmentFeatures, features_j: FragmentFeatures
    ) -> PairRegistration:
        """Return the T_i_j with most evidence; without any, the identity with confidence 0."""
        found, evidence = self.poses(i, j, features_i, features_j)
        if not len(evidence):
            return found[0]
        worth = [inliers_worth(logit) for logit in self.zeta(evidence).tolist()]
        best = max(range(len(worth)), key=worth.__getitem__)
        return replace(found[best], evidence=worth[best],
                       confidence=float(inlier_confidence(worth[best])))

    def poses(
        self, i: int, j: int, features_i: FragmentFeatures, features_j: FragmentFeatures
    ) -> tuple[list[PairRegistration], Tensor]:
        """Return poses T_i_j and (M, C) what speaks for the first M, those with inliers enough."""
        pair = match(i, j, features_i, features_j, self.min_similarity, self.least_matches)
        raise_if_cancelled()
        alike = similar(pair, features_i, features_j, self.min_similarity)
        motions = self.estimates(pair)
        if features_i.context is not None and motions[0].inliers < self.clear_inliers:
            wider = match(i, j, in_context(features_i), in_context(features_j),
                          self.min_similarity, self.least_matches)
            motions = distinct(self.estimates(wider) + motions, self.inlier_distance) or motions
        found = sorted(
            (self.fine(pose, pair, alike, features_i, features_j) for pose in motions),
            key=lambda pose: (self.weak(pose), -pose.inliers))
        rows = [self.evidence(pose, found, alike, features_i, features_j)
                for pose in found if not self.weak(pose)]
        return found, torch.stack(rows) if rows else torch.zeros(0, len(NAMES))

    def weak(self, pose: PairRegistration) -> bool:
        """Return whether too few matches agree with a pose to look further."""
        return pose.inliers < self.checked_inliers or pose.evidence < LEAST_EVIDENCE

    def fine(
        self, pose: PairRegistration, pair: Correspondences, alike: Correspondences,
        features_i: FragmentFeatures, features_j: FragmentFeatures,
    ) -> PairRegistration:
        """Return an estimate to the last centimetres; its evidence are the similar inliers."""
        if not pose.inliers:
            return pose
        T_i_j = pose.T_i_j
        if pose.inliers >= self.checked_inliers:
            T_i_j = fine_registration(T_i_j, pair, features_i, features_j, self.inlier_distance)
        count, similar_count = (
            inliers(T_i_j, matches, self.inlier_distance) for matches in (pair, alike))
        return replace(
            pose, T_i_j=T_i_j, inliers=count, evidence=float(similar_count),
            confidence=float(inlier_confidence(similar_count)),
            information=self.information(torch.from_numpy(T_i_j), *doubles(pair)))

    def evidence(
        self, pose: PairRegistration, found: list[PairRegistration], alike: Correspondences,
        features_i: FragmentFeatures, features_j: FragmentFeatures,
    ) -> Tensor:
        """Return (C,) what speaks for a pose out of those found."""
        raise_if_cancelled()
        rival = max((other.inliers for other in found if other is not pose), default=0)
        T = torch.from_numpy(pose.T_i_j)
        return evidence_for(
            alike, features_i, features_j, T,
            residuals(T.to(alike.points_i), alike.points_j, alike.points_i),
            rival / pose.inliers, visibility(features_i, features_j, T, self.inlier_distance),
            self.inlier_distance)

    def estimates(self, pair: Correspondences) -> list[PairRegistration]:
        """Return the relative poses that correspondences support, the most inliers first."""
        weights = self.psi_init(pair).to('cpu', torch.float64)
        found = [self.estimate(pair, w, *doubles(pair)) for w in weights]
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
        count = int((agree & valid).sum())
        return PairRegistration(
            pair.i, pair.j, T.numpy(), count, float(count), float(inlier_confidence(count)),
            float(valid) * self.information(T, source, target))

    def information(self, T: Tensor, source: Tensor, target: Tensor) -> FloatArray:
        """Return (6, 6) what the matches tell about a pose."""
        weights = psi_iter(residuals(T, source, target), self.inlier_distance)
        # A correspondence is as exact as the keypoints are dense, half the inlier distance.
        return correspondence_information(source, weights, self.inlier_distance / 2).numpy()


def distinct(
    poses: Sequence[PairRegistration], inlier_distance: float
) -> list[PairRegistration]:
    """Return the poses that have inliers, without those that are nearly one before them."""
    found: list[PairRegistration] = []
    for pose in poses:
        errors = [np.linalg.inv(pose.T_i_j) @ other.T_i_j for other in found]
        if pose.inliers and not any(
                np.linalg.norm(E[:3, 3]) < SAME_DISTANCE * inlier_distance
                and rotation_angle(E[:3, :3]) < SAME_ANGLE for E in errors):
            found.append(pose)
    return found


def doubles(pair: Correspondences) -> tuple[Tensor, Tensor]:
    """Return the points of j and of i: what is small and delicate is done on the CPU, exactly."""
    return (pair.points_j.to('cpu', torch.float64), pair.points_i.to('cpu', torch.float64))


def psi_iter(residual: Tensor, inlier_distance: float) -> Tensor:
    """Return the weights (K,) that follow from residuals (K,), metres: 1 at 0, 0 for outliers."""
    return (1 - (residual / inlier_distance).square()).clamp(min=0)
