# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a method of registration is: a descriptor, and poses from what it describes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
import time
from typing import Protocol

from mvreg_ros.cache import Cache
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.pairs.ranking import Pair
from mvreg_ros.parallel import Mapper
from mvreg_ros.types import FragmentFeatures, no_progress, Progress


@dataclass
class Stopwatch:
    """Measures the seconds of each stage, and tells when it begins."""

    progress: Progress = no_progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str, told: bool = True) -> Iterator[None]:
        """Time the block, a part of the stage; told: of its beginning."""
        if told:
            self.progress(stage, 0, 1)
        begin = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin


class Method(Protocol):
    """From prepared fragments to a pose graph."""

    @property
    def descriptor(self) -> Descriptor:
        """Return phi's feature space."""

    mapper: Mapper  # where fragments are described and pairs registered

    def solve(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        min_confidence: float, watch: Stopwatch, progress: Progress, cache: Cache,
    ) -> Synchronization:
        """
        Return the poses, in the stages 'candidates', 'pairs' and 'synchronization'.

        neighbors: pairs i < j that priors say overlap; registered even if not all are.
        min_confidence: tau_p, edges below are pruned. cache: of pairs and looks.
        """
