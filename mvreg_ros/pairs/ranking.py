# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of fragments, and the best of them by a score."""

from __future__ import annotations

from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]


def strongest(scores: FloatArray, count: int) -> set[Pair]:
    """Return the pairs of each fragment with its `count` largest finite scores (S, S)."""
    scores = scores.copy()
    np.fill_diagonal(scores, -np.inf)
    columns = np.argsort(-scores, axis=1, kind='stable')[:, :count]
    i, k = np.nonzero(np.isfinite(np.take_along_axis(scores, columns, 1)))
    return as_pairs(i, columns[i, k])


def as_pairs(i: NDArray, j: NDArray) -> set[Pair]:
    """Return the pairs of two columns, each with the smaller number first."""
    return set(zip(np.minimum(i, j).tolist(), np.maximum(i, j).tolist(), strict=True))
