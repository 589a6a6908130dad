# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Method `consistency`: spatial consistency in the place of the registration blocks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic

from mvreg_ros.cache import Cache, MemoryCache, pair_key, recalled
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview.pose_graph import (
    linking_order,
    PoseGraphConfig,
    Synchronization,
    synchronize,
)
from mvreg_ros.multiview.surroundings import Surroundings
from mvreg_ros.multiview.verified_links import contradicted_links
from mvreg_ros.pairs.first_look import TakeALook
from mvreg_ros.pairs.match_kernel import likeness
from mvreg_ros.pairs.ranking import Pair
from mvreg_ros.pairs.selection import EachWithEach, LikelyPairs, Selection
from mvreg_ros.pairs.vocabulary import Vocabulary
from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.evidence import counted
from mvreg_ros.pairwise.registration import PairwiseRegistration
from mvreg_ros.parallel import Mapper, Result, Threads, workers_for
from mvreg_ros.types import (
    Edges,
    FirstLook,
    FragmentFeatures,
    no_progress,
    PairRegistration,
    Progress,
)
import torch
from torch import Tensor

INLIER_VOXELS = 4.0


class ConsistencyMethod:
    """
    Any descriptor, spatial consistency, and a curve over the inliers.

    descriptor: phi's feature space. register_pair: psi and Eq. 4. vocabulary: to tell
    which pairs are likely to overlap; None: all pairs are registered.
    """

    def __init__(
        self, descriptor: Descriptor, voxel_size: float, device: torch.device,
        zeta: Callable[[Tensor], Tensor] = counted, min_similarity: float = -1.0,
    ) -> None:
        """
        Scale everything with the voxel size, metres.

        zeta, min_similarity: see `PairwiseRegistration`.
        """
        inlier_distance = INLIER_VOXELS * voxel_size
        self.voxel_size = voxel_size
        self.inlier_distance = inlier_distance
        self.mapper: Mapper = Threads(workers_for(device))
        self.descriptor = descriptor
        self.register_pair = PairwiseRegistration(
            SpatialConsistency(inlier_distance), inlier_distance, zeta, min_similarity)
        self.vocabulary: Vocabulary | None = None

    def solve(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        min_confidence: float, watch: Stopwatch, progress: Progress, cache: Cache,
    ) -> Synchronization:
        """Return the poses of described fragments, see `Method`."""
        surroundings = Surroundings(features, self.inlier_distance, cache=cache)
        with watch('pairs'):
            selection = self.selection(features, neighbors, progress, cache)
            found = self.register_pairs(features, selection.first(), progress, cache)
        for _ in range(selection.rounds):
            with watch('synchronization', told=False):
                graph = self.synchronized(found, surroundings, min_confidence)
            with watch('pairs', told=False):
                pairs = selection.further(graph)
                if not pairs:
                    break
                found += self.register_pairs(features, pairs, after(len(found), progress), cache)
        else:
            with watch('synchronization'):
                graph = self.synchronized(found, surroundings, min_confidence)
        progress('synchronization', 1, 1)
        return graph

    def synchronized(
        self, found: Sequence[PairRegistration], surroundings: Surroundings, min_confidence: float
    ) -> Synchronization:
        """Return the poses of all fragments; the order of the pairs does not matter."""
        pairwise = Edges.of(sorted(found, key=lambda pair: (pair.i, pair.j)))
        config = PoseGraphConfig.for_voxel_size(self.voxel_size)
        edges = replace(
            pairwise, evidence=pairwise.evidence * surroundings.undisputed(pairwise))
        order = linking_order(surroundings.count, edges, config)
        edges.evidence[contradicted_links(edges, order, surroundings)] = 0.0
        graph = synchronize(surroundings.count, edges, min_confidence, config)
        return replace(graph, pairwise=pairwise)

    def selection(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        progress: Progress = no_progress, cache: Cache | None = None,
    ) -> Selection:
        """Return what chooses the pairs of a registration."""
        if self.vocabulary is None:
            return EachWithEach(len(features))
        shared = self.mapper.shared(features)
        known = cache or MemoryCache()

        def look(pairs: Sequence[Pair]) -> list[FirstLook]:
            keys = [f'look {key}' if (key := pair_key(features[i], features[j])) else ''
                    for i, j in pairs]
            looks = []
            with closing(recalled(
                known, keys, self.mapper,
                TakeALook(shared, self.inlier_distance), pairs,
            )) as found:
                for each in found:
                    looks.append(each)
                    progress('candidates', len(looks), len(pairs))
            return looks

        alike = likeness(shared, self.vocabulary, self.mapper, known)
        return LikelyPairs(features, alike, look, neighbors, self.voxel_size)

    def register_pairs(
        self, features: Sequence[FragmentFeatures], pairs: Sequence[Pair],
        progress: Progress = no_progress, cache: Cache | None = None,
    ) -> list[PairRegistration]:
        """Return the relative poses of pairs of fragments."""
        job = PairJob(self.register_pair, self.mapper.shared(features))
        keys = [pair_key(features[i], features[j]) for i, j in pairs]
        registrations = []
        with closing(
            recalled(cache or MemoryCache(), keys, self.mapper, job, pairs)
        ) as found:
            for (i, j), registration in zip(pairs, found, strict=True):
                registrations.append(replace(registration, i=i, j=j))
                progress('pairs', len(registrations), len(pairs))
        return registrations


@dataclass(frozen=True)
class PairJob(Generic[Result]):
    """What is done with a pair of fragments, as a function that a `Mapper` can send."""

    function: Callable[[int, int, FragmentFeatures, FragmentFeatures], Result]
    features: Sequence[FragmentFeatures]

    def __call__(self, pair: Pair) -> Result:
        """Return function(i, j, features[i], features[j])."""
        i, j = pair
        return self.function(i, j, self.features[i], self.features[j])


def after(before: int, progress: Progress) -> Progress:
    """Return a progress of work that goes on after so many steps of the same stage."""
    def report(stage: str, done: int, total: int) -> None:
        progress(stage, before + done, before + total)

    return report
