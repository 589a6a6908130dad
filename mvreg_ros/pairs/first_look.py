# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A first look at a pair: few keypoints, one motion, no pose.

It costs a fifteenth of a registration. That so many inliers are found in it says little of where
the fragments lie, but much of whether it is worth while to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.matching import match
from mvreg_ros.types import FirstLook, FragmentFeatures

# Keypoints of each fragment. On real rooms 1000 tell likely pairs as well as 1500, 500 do not.
KEYPOINTS = 1000
MIN_SIMILARITY = 0.6
# Points so far apart, in inlier distances, still agree: fewer keypoints meet less exactly.
REACH = 1.5
SEEDS = 64


def thinned(features: FragmentFeatures) -> FragmentFeatures:
    """Return a view of every n-th keypoint, not more than `KEYPOINTS` in all."""
    step = max(1, -(-len(features.points) // KEYPOINTS))
    return replace(
        features, points=features.points[::step], normals=features.normals[::step],
        descriptors=features.descriptors[::step], context=None)


class TakeALook:
    """The function that looks at pairs (i, j) of described fragments."""

    def __init__(self, features: Sequence[FragmentFeatures], inlier_distance: float) -> None:
        """Take the fragments as they are; inlier_distance: metres, of a full registration."""
        self._features = features
        self._motions = SpatialConsistency(REACH * inlier_distance, max_seeds=SEEDS, motions=1)

    def __call__(self, pair: tuple[int, int]) -> FirstLook:
        """Return how many matches agree on the motion that most of them agree on."""
        i, j = pair
        few_i, few_j = thinned(self._features[i]), thinned(self._features[j])
        weights = self._motions(match(i, j, few_i, few_j, MIN_SIMILARITY))
        return FirstLook(int((weights[0] > 0).sum()))
