# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a map is worth as a whole: all pairs of fragments count, and not those of a benchmark alone.

A map may be broken although the pairs that a benchmark lists look fine: they are the pairs that
overlap, and most of them lie on one side of the break.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from mvreg_ros.data.scenes import Scene
from mvreg_ros.evaluation.metrics import (
    distribution,
    Pair,
    relative_errors,
    ROTATION_BINS,
    share_right,
    Transforms,
    TRANSLATION_BINS,
)
from mvreg_ros.types import FloatArray
import numpy as np

# A pair of a map is right up to here.
DEGREES, METRES = 15.0, 0.5


def true_pairs(scene: Scene) -> dict[Pair, FloatArray]:
    """Return T_i_j of all i < j of a scene; none where it does not know its poses."""
    poses = scene.T_world_fragment
    if poses is None:
        return {}
    inverse = np.linalg.inv(poses)
    return {(i, j): inverse[i] @ poses[j] for i, j in combinations(range(scene.count), 2)}


def listed_errors(multiview: Transforms, scene: Scene) -> tuple[FloatArray, FloatArray]:
    """
    Return the errors, degrees and metres, of the listed pairs of all benchmarks, (P,) each.

    Consecutive pairs are included. A pair that two benchmarks list counts twice, as in published
    figures.
    """
    errors = [relative_errors(multiview, truth.T_i_j) for truth in scene.truth.values()]
    rotation, translation = zip(*errors, strict=True)
    return np.concatenate(rotation), np.concatenate(translation)


def map_figures(multiview: Transforms, scene: Scene) -> dict[str, Any]:
    """
    Return the figures of a map, by the names of `metrics.json`.

    multiview: T_i_j implied by the poses, for all pairs of one component. all_pairs: share of all
    pairs that are right within 15 degrees and 0.5 m, a pair across components being wrong.
    within_component: the same among the pairs in one component. Both are NaN where the poses of
    the fragments are not known. listed: errors over the pairs of all benchmarks.
    """
    truth = true_pairs(scene)
    inside = {pair: T for pair, T in truth.items() if pair in multiview}
    rotation, translation = listed_errors(multiview, scene)
    return {
        'all_pairs': share_right(multiview, truth, DEGREES, METRES),
        'within_component': share_right(multiview, inside, DEGREES, METRES),
        'listed': {
            'pairs_evaluated': len(rotation),
            'rotation_deg': distribution(rotation, ROTATION_BINS),
            'translation_m': distribution(translation, TRANSLATION_BINS),
        },
    }
