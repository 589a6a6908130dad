# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes through the pipeline, or through its second half only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
import time

from mvreg_ros.data.clouds import read_fragments
from mvreg_ros.data.scenes import Scene
from mvreg_ros.evaluation.metrics import Pair
from mvreg_ros.evaluation.protocol import peak_memory_mb, SceneResult
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview import synchronize
from mvreg_ros.multiview.centering import centered, shift
from mvreg_ros.multiview.pose_graph import PoseGraphConfig, Synchronization
from mvreg_ros.register import as_fragment, MultiviewRegistration
from mvreg_ros.types import (
    Edges,
    FloatArray,
    Fragment,
    FragmentFeatures,
    no_progress,
    Progress,
    Registration,
    Verdict,
)
import numpy as np
from numpy.typing import NDArray

# Recorded estimates come without evidence; all get the same, enough to be believed.
RECORDED_INLIERS = 100


class RecordingRegistration(MultiviewRegistration):
    """The pipeline, with the pairwise estimates of its last run kept as they were made."""

    pairwise: dict[Pair, FloatArray]

    def register(
        self, clouds: Sequence[NDArray | Fragment], progress: Progress = no_progress,
    ) -> Registration:
        """Register, and bring what was recorded back from the middles of the fragments."""
        fragments = [self.prepare(as_fragment(cloud, k)) for k, cloud in enumerate(clouds)]
        registration = super().register(fragments, progress)
        T_fragment_center = shift([centered(fragment)[1] for fragment in fragments])
        T_center_fragment = np.linalg.inv(T_fragment_center)
        self.pairwise = {(i, j): T_fragment_center[i] @ T_i_j @ T_center_fragment[j]
                         for (i, j), T_i_j in self.pairwise.items()}
        return registration

    def solve(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        watch: Stopwatch, progress: Progress = no_progress,
    ) -> Synchronization:
        """Return the pose graph, and keep its pairs; one without inliers is no estimate."""
        graph = super().solve(features, neighbors, watch, progress)
        pairs = graph.pairwise.select(graph.pairwise.inliers > 0)
        keys = zip(pairs.i.tolist(), pairs.j.tolist(), strict=True)
        self.pairwise = dict(zip(keys, pairs.T_i_j, strict=True))
        return graph


def register_scene(
    scene: Scene, registration: RecordingRegistration, progress: Progress = no_progress,
) -> SceneResult:
    """Register the clouds of a scene; raises InputError as readers and `register` do."""
    begin = time.perf_counter()
    fragments = read_fragments(scene.clouds, registration.prepare, progress, scene.read)
    seconds = {'reading': time.perf_counter() - begin}
    result = registration.register(fragments, progress)
    result = replace(result, seconds=seconds | result.seconds)
    return SceneResult(scene, result, registration.pairwise, peak_memory_mb())


def synchronize_scene(scene: Scene, min_confidence: float) -> SceneResult:
    """Find absolute poses for the recorded pairwise estimates of a scene."""
    begin = time.perf_counter()
    # All may link, however many fragments there are.
    graph = synchronize(
        scene.count, recorded_edges(scene), min_confidence, PoseGraphConfig(link=1.0))
    placed = graph.component >= 0
    registration = Registration(
        poses=graph.poses, placed=placed, component=graph.component,
        covariances=np.full((scene.count, 6, 6), np.nan), edges=graph.edges,
        reason=np.where(placed, '', 'no_link').astype(object),
        seconds={'synchronization': time.perf_counter() - begin})
    return SceneResult(scene, registration, scene.estimates, peak_memory_mb())


def recorded_edges(scene: Scene) -> Edges:
    """Return the recorded estimates as edges of equal, full confidence."""
    i, j = np.array(list(scene.estimates), np.int64).reshape(-1, 2).T
    count = len(i)
    return Edges(
        i=i, j=j, T_i_j=np.array(list(scene.estimates.values())).reshape(-1, 4, 4),
        confidence=np.ones(count), inliers=np.full(count, RECORDED_INLIERS),
        evidence=np.full(count, float(RECORDED_INLIERS)),
        information=np.tile(np.eye(6), (count, 1, 1)),
        verdict=np.full(count, Verdict.KEPT, object), reason=np.full(count, '', object))
