# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Method `consistency`: spatial consistency in the place of the registration blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

from mvreg_ros.cache import Cache, MemoryCache, pair_key
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview.pose_graph import PoseGraphConfig, Synchronization, synchronize
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

    descriptor: phi's feature space. register_pair: psi and Eq. 4.
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

    def solve(
        self, features: Sequence[FragmentFeatures], min_confidence: float, watch: Stopwatch,
        progress: Progress, cache: Cache,
    ) -> Synchronization:
        """Return the poses of described fragments, see `Method`."""
        with watch('pairs'):
            edges = Edges.of(self.register_pairs(features, progress, cache))
        with watch('synchronization'):
            graph = synchronize(
                len(features), edges, min_confidence,
                PoseGraphConfig.for_voxel_size(self.voxel_size),
            )
            progress('synchronization', 1, 1)
        return graph

    def register_pairs(
        self, features: Sequence[FragmentFeatures], progress: Progress = no_progress,
        cache: Cache | None = None,
    ) -> list[PairRegistration]:
        """Return the relative pose of each pair of fragments."""
        known = cache or MemoryCache()
        pairs = list(combinations(range(len(features)), 2))

        def register(pair: tuple[int, int]) -> PairRegistration:
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
