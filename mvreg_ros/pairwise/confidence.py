# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The local confidence of an edge from its evidence, in the place of Eq. 13."""

from __future__ import annotations

import math
from typing import TypeVar

from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

Share = TypeVar('Share', float, Tensor)

HALF = 24.0
SLOPE = 2.6
DISPUTED = 0.06
LARGEST_LOGIT = 15.0  # beyond lies certainty, which no finite number of scenes can teach


def inlier_confidence(inliers: ArrayLike) -> FloatArray:
    """
    Return the probability that a relative pose with so many inliers is right, in [0, 1].

    A logistic curve in the logarithm of the count: 0.5 at 24 inliers, 0.87 at 50, 0.98 at 100.
    """
    count = np.maximum(np.asarray(inliers, float), 1e-3)
    return 1 / (1 + (HALF / count) ** SLOPE)


def undisputed(contradiction: Share) -> Share:
    """
    Return what is left of the evidence for poses that contradict the sensors, in [0, 1].

    contradiction: shares of the commonly seen points that do, see pairwise/visibility.py. Half is
    left at 6 %, a ninth at 10 %.
    """
    return 1 / (1 + (contradiction / DISPUTED) ** 4)


def inliers_worth(logit: float) -> float:
    """Return how many inliers `inlier_confidence` gives the same probability, from its logit."""
    return HALF * math.exp(min(max(logit, -LARGEST_LOGIT), LARGEST_LOGIT) / SLOPE)
