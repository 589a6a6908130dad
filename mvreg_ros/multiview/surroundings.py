# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What an edge implies about the fragments around its two, and whether their sensors contradict it.

Rooms are alike, and the more of them there are the surer it is that a corner of one fits that of
another to the last inlier. What lies around the corner does not fit: an edge that is right lays
not only its two fragments on each other but the neighbours of the one on those of the other. This
is to triplet support what a contradiction is to an agreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from mvreg_ros.cache import Cache, MemoryCache
from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.pairwise.depth_image import DepthImage
from mvreg_ros.types import Contradiction, Edges, FloatArray, FragmentFeatures
import numpy as np

# Points that a row has to see to count in full: one that sees more is not surer of itself.
ENOUGH = 500.0
Placed = list[tuple[int, FloatArray]]


@dataclass(frozen=True)
class SurroundingsConfig:
    """
    What is looked at.

    least: evidence of an edge that is asked about, and of one that makes neighbours. relative: the
    latter has this part of the evidence of the former at least: the weak do not judge the strong.
    neighbors: of each fragment, those with the most evidence. points: of a fragment that are
    compared. disputed: share of contradictions at which half of the evidence is left in a session
    of `fragments`; in larger ones, where more edges fit by chance, it falls to `least_disputed`.
    """

    least: float = 20.0
    relative: float = 0.5
    neighbors: int = 4
    points: int = 500
    disputed: float = 0.16
    least_disputed: float = 0.04
    fragments: int = 60

    def half(self, count: int) -> float:
        """Return the share at which half of the evidence is left among `count` fragments."""
        larger = max(1.0, count / self.fragments)
        return max(self.disputed / larger**2, self.least_disputed)


class Surroundings:
    """
    Judges edges between `count` described fragments.

    tolerance: metres, see `DepthImage`. half: the share of contradictions at which half of the
    evidence of an edge is left. cache: for what was compared before.
    """

    def __init__(
        self, features: Sequence[FragmentFeatures], tolerance: float,
        config: SurroundingsConfig | None = None, cache: Cache | None = None,
    ) -> None:
        """Draw nothing yet: few fragments may have edges."""
        self.count = len(features)
        self._features = features
        self._tolerance = tolerance
        self._config = config or SurroundingsConfig()
        self.half = self._config.half(self.count)
        keyed = cache is not None and all(feature.key for feature in features)
        self._cache = cache if cache is not None and keyed else MemoryCache()
        self._names = [feature.key if keyed else str(k) for k, feature in enumerate(features)]
        self._images: dict[int, DepthImage] = {}
        self._points: dict[int, FloatArray] = {}
        self._known: dict[str, float] = {}

    def undisputed(self, edges: Edges) -> FloatArray:
        """Return (E,) what the surroundings leave of the evidence of edges, in [0, 1]."""
        return 1 / (1 + (self.contradiction(edges) / self.half) ** 4)

    def contradiction(self, edges: Edges) -> FloatArray:
        """
        Return (E,) the share of commonly seen points around an edge that contradict it, in [0, 1].

        Neighbours may be wrong themselves: of those of fragment i, each with all of fragment j,
        the median counts, and the other way round; of the two what is less.
        """
        config = self._config
        asked = np.flatnonzero(edges.evidence >= config.least)
        inverse = np.linalg.inv(edges.T_i_j)
        around: list[list[tuple[float, int, FloatArray]]] = [[] for _ in self._features]
        for row in asked:
            i, j = int(edges.i[row]), int(edges.j[row])
            around[i].append((-edges.evidence[row], j, edges.T_i_j[row]))
            around[j].append((-edges.evidence[row], i, inverse[row]))
        for neighbors in around:
            neighbors.sort(key=lambda neighbor: neighbor[:2])
        share = np.zeros(len(edges))
        for row in asked:
            raise_if_cancelled()
            i, j = int(edges.i[row]), int(edges.j[row])
            most = -config.relative * edges.evidence[row]
            near_i, near_j = (
                [(k, T) for evidence, k, T in around[end] if k != other and evidence <= most]
                [:config.neighbors] for end, other in ((i, j), (j, i)))
            share[row] = self.contradiction_between(
                [(i, np.eye(4)), *near_i], [(j, np.eye(4)), *near_j], edges.T_i_j[row])
        return share

    def contradiction_between(
        self, side_i: Placed, side_j: Placed, T_i_j: FloatArray
    ) -> float:
        """
        Return the same share for fragments on the two sides of an edge.

        side_i, side_j: ids of fragments with T_i_fragment and T_j_fragment.
        """
        T_i = np.stack([T for _, T in side_i])
        T_j = T_i_j @ np.stack([T for _, T in side_j])
        a, b = ([k for k, _ in side] for side in (side_i, side_j))
        key = self._key(a, T_i, b, T_j)
        if key not in self._known:
            found = self._cache.find(key)
            if found is None:
                found = Contradiction(self._compared(a, T_i, b, T_j))
                self._cache.keep(key, found)
            self._known[key] = float(found.share)
        return self._known[key]

    def _compared(
        self, a: list[int], T_i: FloatArray, b: list[int], T_j: FloatArray
    ) -> float:
        counts = np.zeros((len(a), len(b), 2))
        counts += self._seen(a, T_i, b, T_j)
        counts += self._seen(b, T_j, a, T_i).transpose(1, 0, 2)
        counts[np.equal.outer(a, b)] = 0
        return min(median_share(counts), median_share(counts.transpose(1, 0, 2)))

    def _key(self, a: list[int], T_i: FloatArray, b: list[int], T_j: FloatArray) -> str:
        names = [self._names[k] for k in a + b]
        both = [k in a for k in b]
        content = sha256(f'{self._tolerance} {self._config.points} {names} {both}'.encode())
        content.update(np.concatenate([T_i, T_j]).tobytes())
        return f'contradiction {content.hexdigest()}'

    def _seen(
        self, sensors: list[int], T_sensors: FloatArray, others: list[int], T_others: FloatArray
    ) -> FloatArray:
        """Return (A, B, 2) how many points of each other agree with each sensor, contradict it."""
        points = [self._thinned(k) @ T[:3, :3].T + T[:3, 3]
                  for k, T in zip(others, T_others, strict=True)]
        first = np.cumsum([0, *map(len, points)])[:-1]
        there = np.concatenate(points)
        counts = []
        for k, T in zip(sensors, T_sensors, strict=True):
            seen = self._image(k).compare((there - T[:3, 3]) @ T[:3, :3])
            counts.append([np.add.reduceat(each.astype(float), first) for each in seen])
        return np.array(counts).transpose(0, 2, 1)

    def _image(self, k: int) -> DepthImage:
        if k not in self._images:
            self._images[k] = DepthImage(self._features[k], self._tolerance)
        return self._images[k]

    def _thinned(self, k: int) -> FloatArray:
        if k not in self._points:
            points = self._features[k].points
            step = 1 + len(points) // self._config.points
            self._points[k] = points[::step].cpu().numpy().astype(np.float64)
        return self._points[k]


def median_share(counts: FloatArray) -> float:
    """
    Return the median over rows of the share that contradicts, rows weighted by what they saw.

    counts: (A, B, 2) points that agree and that contradict.
    """
    agree, contradict = counts.sum(1).T
    seen = agree + contradict
    share = contradict / np.maximum(seen, 1)
    order = np.argsort(share, kind='stable')
    reached = np.cumsum(np.minimum(seen, ENOUGH)[order])
    return float(share[order][np.searchsorted(reached, reached[-1] / 2)])
