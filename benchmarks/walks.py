# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Walks through flats, simulated and real, of which only some fragments are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from mvreg_ros.data.clouds import read_fragments
from mvreg_ros.data.scenes import Scene
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.multiview.centering import centered
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.simulate import simulate_session
from mvreg_ros.types import (
    FloatArray,
    Fragment,
    FragmentFeatures,
    InputError,
    PairRegistration,
    Progress,
)
import numpy as np

ROOMS, FRAGMENTS = 3, 30
EVERY = (2, 3)


@dataclass(frozen=True)
class Walk:
    """
    A described walk through a flat.

    fragments: centred, see `mvreg_ros.multiview.centering`; centers: (S, 3). T_world_fragment:
    (S, 4, 4) the truth. pairs: what registration finds for i < j.
    """

    fragments: Sequence[Fragment]
    centers: FloatArray
    features: Sequence[FragmentFeatures]
    T_world_fragment: FloatArray
    pairs: Sequence[PairRegistration]

    def thinned(self, every: int) -> Walk:
        """Return the walk with only every so many-th fragment."""
        count = len(self.fragments)
        return Walk(
            self.fragments[::every], self.centers[::every], self.features[::every],
            self.T_world_fragment[::every],
            [replace(pair, i=pair.i // every, j=pair.j // every) for pair in self.pairs
             if pair.i % every == pair.j % every == 0 and pair.j < count])


def simulated(seed: int, pipeline: MultiviewRegistration, progress: Progress) -> Walk:
    """Simulate a walk through a flat and register it."""
    session = simulate_session(seed, ROOMS, FRAGMENTS, progress)
    given = [pipeline.prepare(fragment) for fragment in session.fragments]
    return registered(given, session.T_world_fragment, pipeline, progress)


def recorded(scene: Scene, pipeline: MultiviewRegistration, progress: Progress) -> Walk:
    """Read a scene, whose fragments are those of one walk in its order, and register it."""
    if scene.T_world_fragment is None:
        raise InputError(f'{scene.name}: cloud_bin_*.info.txt must tell where the fragments are')
    given = read_fragments(scene.clouds, pipeline.prepare, progress, scene.read)
    return registered(given, scene.T_world_fragment, pipeline, progress)


def registered(
    given: Sequence[Fragment], T_world_fragment: FloatArray, pipeline: MultiviewRegistration,
    progress: Progress,
) -> Walk:
    """Describe prepared fragments and register the pairs of all thinned walks."""
    method = pipeline.method
    assert isinstance(method, ConsistencyMethod)
    fragments, centers = zip(*map(centered, given), strict=True)
    features = pipeline.describe(fragments, progress)
    pairs = [(i, j) for i, j in combinations(range(len(fragments)), 2)
             if any(i % every == j % every == 0 for every in EVERY)]
    return Walk(fragments, np.stack(centers), features, T_world_fragment,
                method.register_pairs(features, pairs, progress))
