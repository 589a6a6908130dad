# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good descriptors and poses are on pairs of fragments that are not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.pairwise.matching import match, row_argmax
from mvreg_ros.training.pairs import ScenePair
from mvreg_ros.types import FloatArray, Fragment, FragmentFeatures
import numpy as np
from torch import Tensor

# Metres at voxels of 2.5 cm, within which a match is right; the share of right ones from which on
# a pair counts as matched (feature match recall): of 3DMatch.
RIGHT, MATCHED = 0.1, 0.05
# Degrees, and metres at voxels of 2.5 cm, within which a pose is right.
MAX_ANGLE, MAX_DISTANCE = 15.0, 0.3
SURE = 0.9


@dataclass(frozen=True)
class EstimatedPose:
    """A pose T_i_j (4, 4) with what it should be, and how sure it is, from 0 to 1."""

    T_i_j: FloatArray
    truth: FloatArray
    confidence: float

    def is_right(self, scale: float) -> bool:
        """Return whether the pose is within 15 degrees and 30 cm times the scale."""
        angle = rotation_angle(self.truth[:3, :3].T @ self.T_i_j[:3, :3])
        distance = np.linalg.norm(self.T_i_j[:3, 3] - self.truth[:3, 3])
        return bool(np.degrees(angle) < MAX_ANGLE and distance < MAX_DISTANCE * scale)


def matching_figures(
    descriptor: Descriptor, prepare: Callable[[Fragment], Fragment], pairs: Sequence[ScenePair],
    right: float,
) -> dict[str, float]:
    """
    Return the mean shares of right matches, and of pairs with 5 % of them (FMR).

    prepare: what is done to fragments first. right: metres, within which a match is right.
    """
    features: dict[tuple[str, int], FragmentFeatures] = {}

    def described(pair: ScenePair, k: int) -> FragmentFeatures:
        key = pair.scene.name, k
        if key not in features:
            features[key] = descriptor(prepare(pair.scene.fragment(k)))
        return features[key]

    nearest, mutual = [], []
    for pair in pairs:
        i, j = described(pair, pair.i), described(pair, pair.j)
        T_i_j = pair.scene.relative(pair.i, pair.j)
        partners = row_argmax(i.descriptors @ j.descriptors.T)
        nearest.append(share_right(i.points, j.points[partners], T_i_j, right))
        both = match(pair.i, pair.j, i, j)
        mutual.append(share_right(both.points_i, both.points_j, T_i_j, right))
    return {
        'mutual_inlier_ratio': float(np.mean(mutual)),
        'mutual_match_recall': float(np.mean(np.array(mutual) > MATCHED)),
        'inlier_ratio': float(np.mean(nearest)),
        'match_recall': float(np.mean(np.array(nearest) > MATCHED)),
    }


def pose_figures(
    overlapping: Sequence[EstimatedPose], others: Sequence[EstimatedPose], scale: float
) -> dict[str, float]:
    """
    Return the share of right poses of pairs that overlap, and what the confidence of any is worth.

    recall: of the first. brier: of the confidence, the mean square of what it is beside 0 or 1.
    sure, right_when_sure: the share with a confidence above 0.9, and of right ones among them.
    """
    right = np.array([pose.is_right(scale) for pose in others])
    confidence = np.array([pose.confidence for pose in others])
    sure = confidence > SURE
    return {
        'recall': float(np.mean([pose.is_right(scale) for pose in overlapping])),
        'brier': float(np.mean((confidence - right) ** 2)),
        'sure': float(np.mean(sure)),
        'right_when_sure': float(np.mean(right[sure])) if sure.any() else 0.0,
    }


def share_right(points_i: Tensor, points_j: Tensor, T_i_j: FloatArray, right: float) -> float:
    """Return the share of rows of points (K, 3) that are so near each other by the true pose."""
    there = points_j.cpu().numpy() @ T_i_j[:3, :3].T + T_i_j[:3, 3]
    distance = np.linalg.norm(there - points_i.cpu().numpy(), axis=1)
    return float((distance < right).mean()) if len(distance) else 0.0
