# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which pairs are registered, round by round.

First those that look alike. Once there are poses: pairs that they lay on each other, which adds
the loops that hold a map together, and more pairs of the fragments that are not linked to the
largest part. What is chosen depends on the fragments alone, not on what was computed before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

from mvreg_ros.multiview.graph import maximum_spanning_forest
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.pairs.overlap import overlapping
from mvreg_ros.pairs.ranking import as_pairs, Pair, strongest
from mvreg_ros.types import FloatArray, FragmentFeatures
import numpy as np


class Selection(Protocol):
    """
    Chooses pairs i < j for one registration, in order.

    rounds: so many times it may choose further ones.
    """

    rounds: int

    def first(self) -> list[Pair]:
        """Return the pairs to begin with."""

    def further(self, graph: Synchronization) -> list[Pair]:
        """Return pairs not chosen before, by what became of those; none if that is enough."""


class EachWithEach:
    """All pairs of `count` fragments."""

    rounds = 0

    def __init__(self, count: int) -> None:
        """Choose nothing yet."""
        self._count = count

    def first(self) -> list[Pair]:
        """Return all pairs."""
        return list(combinations(range(self._count), 2))

    def further(self, graph: Synchronization) -> list[Pair]:
        """Return nothing: there is no other pair."""
        return []


@dataclass(frozen=True)
class SelectionConfig:
    """
    How many pairs are tried.

    alike: at first each fragment with so many that look most like it. leaving: in each later round
    each fragment outside of the largest part with so many others that are not in its part. rounds:
    after the first.
    """

    alike: int = 6
    leaving: int = 4
    rounds: int = 4


class LikelyPairs:
    """The pairs of described fragments that are likely to overlap; a `Selection`."""

    def __init__(
        self, features: Sequence[FragmentFeatures], likeness: FloatArray,
        neighbors: Collection[Pair], voxel_size: float, config: SelectionConfig | None = None,
    ) -> None:
        """Take (S, S) how alike fragments look, and pairs that are chosen in any case."""
        self._config = config or SelectionConfig()
        self._points = [f.points.cpu().numpy() for f in features]
        self._likeness = likeness
        self._neighbors = set(neighbors)
        self._voxel_size = voxel_size
        self.rounds = self._config.rounds
        self._chosen: set[Pair] = set()

    def first(self) -> list[Pair]:
        """Return the pairs most alike, enough of them to span all fragments."""
        i, j = np.triu_indices(len(self._likeness), 1)
        tree = maximum_spanning_forest(len(self._likeness), i, j, self._likeness[i, j])
        alike = strongest(self._likeness, self._config.alike)
        return self._new(alike | as_pairs(i[tree], j[tree]) | self._neighbors)

    def further(self, graph: Synchronization) -> list[Pair]:
        """Return the pairs that the poses lay on each other, and those that may link a part."""
        overlap = overlapping(self._points, graph.poses, graph.component, self._voxel_size)
        return self._new(overlap | self._leaving(graph))

    def _new(self, pairs: set[Pair]) -> list[Pair]:
        new = sorted(pairs - self._chosen)
        self._chosen.update(new)
        return new

    def _leaving(self, graph: Synchronization) -> set[Pair]:
        """Return the pairs most alike that would link a part, of those not yet chosen."""
        part = graph.component.copy()
        part[part < 0] = -1 - np.flatnonzero(part < 0)
        untried = np.where(part[:, None] == part, -np.inf, self._likeness)
        untried[part == 0] = -np.inf
        for i, j in self._chosen:
            untried[i, j] = untried[j, i] = -np.inf
        return strongest(untried, self._config.leaving)
