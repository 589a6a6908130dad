# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Method `consistency`: spatial consistency in the place of the registration blocks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from mvreg_ros.cache import Cache, MemoryCache, pair_key
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview.pose_graph import PoseGraphConfig, Synchronization, synchronize
from mvreg_ros.pairs.match_kernel import likeness
from mvreg_ros.pairs.ranking import Pair
from mvreg_ros.pairs.selection import EachWithEach, LikelyPairs, Selection
from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.evidence import counted
from mvreg_ros.pairwise.registration import PairwiseRegistration
from mvreg_ros.parallel import ordered_map, workers_for
from mvreg_ros.types import Edges, FragmentFeatures, no_progress, PairRegistration, Progress
import torch
from torch import Tensor

INLIER_VOXELS = 4.0


class ConsistencyMethod:
    """
    Any descriptor, spatial consistency, and a curve over the inliers.

    descriptor: phi's feature space. register_pair: psi and Eq. 4. words: (K, D), for descriptors
    to tell which pairs are likely to overlap; None: all pairs are registered.
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
        self.workers = workers_for(device)
        self.descriptor = descriptor
        self.register_pair = PairwiseRegistration(
            SpatialConsistency(inlier_distance), inlier_distance, zeta, min_similarity)
        self.words: Tensor | None = None

    def solve(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        min_confidence: float, watch: Stopwatch, progress: Progress, cache: Cache,
    ) -> Synchronization:
        """Return the poses of described fragments, see `Method`."""
        with watch('pairs'):
            selection = self.selection(features, neighbors)
            found = self.register_pairs(features, selection.first(), progress, cache)
            for _ in range(selection.rounds):
                graph = self.synchronized(len(features), found, min_confidence)
                pairs = selection.further(graph)
                if not pairs:
                    break
                found += self.register_pairs(features, pairs, after(len(found), progress), cache)
        with watch('synchronization'):
            graph = self.synchronized(len(features), found, min_confidence)
            progress('synchronization', 1, 1)
        return graph

    def synchronized(
        self, count: int, found: Sequence[PairRegistration], min_confidence: float
    ) -> Synchronization:
        """Return the poses of `count` fragments; the order of the pairs does not matter."""
        edges = Edges.of(sorted(found, key=lambda pair: (pair.i, pair.j)))
        return synchronize(
            count, edges, min_confidence, PoseGraphConfig.for_voxel_size(self.voxel_size))

    def selection(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair]
    ) -> Selection:
        """Return what chooses the pairs of a registration."""
        if self.words is None:
            return EachWithEach(len(features))
        return LikelyPairs(
            features, likeness(features, self.words), neighbors, self.voxel_size)

    def register_pairs(
        self, features: Sequence[FragmentFeatures], pairs: Sequence[Pair],
        progress: Progress = no_progress, cache: Cache | None = None,
    ) -> list[PairRegistration]:
        """Return the relative poses of pairs of fragments."""
        known = cache or MemoryCache()

        def register(pair: Pair) -> PairRegistration:
            i, j = pair
            found = known.recall(
                pair_key(features[i], features[j]),
                lambda: self.register_pair(i, j, features[i], features[j]))
            return replace(found, i=i, j=j)

        registrations = []
        for registration in ordered_map(register, pairs, self.workers):
            registrations.append(registration)
            progress('pairs', len(registrations), len(pairs))
        return registrations


def after(before: int, progress: Progress) -> Progress:
    """Return a progress of work that goes on after so many steps of the same stage."""
    def report(stage: str, done: int, total: int) -> None:
        progress(stage, before + done, before + total)

    return report
