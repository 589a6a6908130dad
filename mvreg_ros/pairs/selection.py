# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which pairs are registered, round by round: a cascade.

Those that look alike are looked at; those where that finds something are registered. Once there
are poses: pairs that they lay on each other, which adds the loops that hold a map together, and
more pairs of the fragments that are not linked to the largest part, each after a look. What is
chosen depends on the fragments alone, not on what was computed before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

from mvreg_ros.multiview.graph import maximum_spanning_forest
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.pairs.overlap import overlapping
from mvreg_ros.pairs.ranking import as_pairs, Pair, strongest
from mvreg_ros.types import FirstLook, FloatArray, FragmentFeatures
import numpy as np

Look = Callable[[Sequence[Pair]], Sequence[FirstLook]]


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
    How many pairs are looked at and registered.

    few: of so many fragments all pairs are registered. alike: at first each fragment is looked at
    with so many that look most like it. promising: inliers of a first look from which on a pair is
    registered, of each fragment the best `most`; the best `least` in any case. possible: inliers
    from which on a pair that the poses lay on each other is registered. leaving: in each later
    round each fragment outside of the largest part is looked at with so many others that are not
    in its part; of all that it was looked at with the best `linking` of the possible ones are
    registered. rounds: after the first.
    """

    few: int = 8
    alike: int = 20
    promising: int = 20
    most: int = 5
    least: int = 2
    leaving: int = 4
    linking: int = 1
    possible: int = 10
    rounds: int = 2


class LikelyPairs:
    """The pairs of described fragments that are likely to overlap; a `Selection`."""

    def __init__(
        self, features: Sequence[FragmentFeatures], likeness: FloatArray, look: Look,
        neighbors: Collection[Pair], voxel_size: float, config: SelectionConfig | None = None,
    ) -> None:
        """Take (S, S) how alike fragments look, and pairs that are chosen in any case."""
        self._config = config or SelectionConfig()
        self._points = [f.points.cpu().numpy() for f in features]
        self._likeness = likeness
        self._look = look
        self._neighbors = set(neighbors)
        self._voxel_size = voxel_size
        self.rounds = self._config.rounds
        self._found = np.full_like(likeness, -np.inf)
        self._chosen: set[Pair] = set()

    def first(self) -> list[Pair]:
        """Return the most promising pairs, enough of them to span all fragments."""
        i, j = np.triu_indices(len(self._likeness), 1)
        if len(self._likeness) <= self._config.few:
            return self._new(as_pairs(i, j))
        tree = maximum_spanning_forest(len(self._likeness), i, j, self._likeness[i, j])
        self._look_at(strongest(self._likeness, self._config.alike) | as_pairs(i[tree], j[tree]))
        a, b = np.nonzero(np.triu(np.isfinite(self._found)))
        spanning = maximum_spanning_forest(len(self._found), a, b, self._found[a, b])
        promising = np.where(self._found >= self._config.promising, self._found, -np.inf)
        return self._new(
            strongest(promising, self._config.most) | strongest(self._found, self._config.least)
            | as_pairs(a[spanning], b[spanning]) | self._neighbors)

    def further(self, graph: Synchronization) -> list[Pair]:
        """Return the pairs that the poses lay on each other, and those that may link a part."""
        overlap = overlapping(self._points, graph.poses, graph.component, self._voxel_size)
        self._look_at({pair for pair in overlap if not np.isfinite(self._found[pair])})
        meeting = {pair for pair in overlap if self._found[pair] >= self._config.possible}
        return self._new(meeting | self._leaving(graph))

    def _new(self, pairs: set[Pair]) -> list[Pair]:
        new = sorted(pairs - self._chosen)
        self._chosen.update(new)
        return new

    def _look_at(self, pairs: set[Pair]) -> None:
        """Take note of the inliers of a first look at the pairs."""
        order = sorted(pairs)
        for (i, j), look in zip(order, self._look(order), strict=True):
            # Of equals those that are more alike, which is not more than one.
            alike = max(0.0, self._likeness[i, j])
            self._found[i, j] = self._found[j, i] = look.inliers + alike / 3

    def _leaving(self, graph: Synchronization) -> set[Pair]:
        """Return the most promising pairs that would link a part, after a look at some more."""
        part = graph.component.copy()
        part[part < 0] = -1 - np.flatnonzero(part < 0)
        linking = part[:, None] != part
        linking[part == 0] = False
        for i, j in self._chosen:
            linking[i, j] = linking[j, i] = False
        untried = linking & ~np.isfinite(self._found)
        self._look_at(strongest(
            np.where(untried, self._likeness, -np.inf), self._config.leaving))
        possible = linking & (self._found >= self._config.possible)
        return strongest(np.where(possible, self._found, -np.inf), self._config.linking)
