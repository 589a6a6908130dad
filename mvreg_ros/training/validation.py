# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good descriptors are on pairs of fragments with known poses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.pairwise.matching import match, row_argmax
from mvreg_ros.training.pairs import ScenePair
from mvreg_ros.types import FloatArray, Fragment, FragmentFeatures
import numpy as np
from torch import Tensor

# Metres at voxels of 2.5 cm, within which a match is right; the share of right ones from which on
# a pair counts as matched (feature match recall): of 3DMatch.
RIGHT, MATCHED = 0.1, 0.05


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


def share_right(points_i: Tensor, points_j: Tensor, T_i_j: FloatArray, right: float) -> float:
    """Return the share of rows of points (K, 3) that are so near each other by the true pose."""
    there = points_j.cpu().numpy() @ T_i_j[:3, :3].T + T_i_j[:3, 3]
    distance = np.linalg.norm(there - points_i.cpu().numpy(), axis=1)
    return float((distance < right).mean()) if len(distance) else 0.0
