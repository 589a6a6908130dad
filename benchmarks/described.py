# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes that are read and described once, and solved in several ways."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mvreg_ros.data.clouds import read_fragments
from mvreg_ros.data.scenes import Scene
from mvreg_ros.evaluation.protocol import SceneResult
from mvreg_ros.multiview.centering import centered, restored
from mvreg_ros.multiview.optimization import optimize_poses
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.multiview.refinement import refine_edges
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import FloatArray, Fragment, FragmentFeatures, Progress, Registration
import numpy as np


@dataclass(frozen=True)
class DescribedScene:
    """A scene with its fragments thinned, centred and described. centers: (S, 3), metres."""

    scene: Scene
    fragments: list[Fragment]
    centers: FloatArray
    features: list[FragmentFeatures]

    def refined(self, graph: Synchronization, voxel_size: float) -> Synchronization:
        """Return the poses after GICP on the edges in use and the final optimisation."""
        edges = refine_edges(self.fragments, graph.edges, voxel_size)
        poses, _ = optimize_poses(graph.poses, graph.component, edges)
        return replace(graph, poses=poses, edges=edges)

    def result(self, graph: Synchronization) -> SceneResult:
        """Return a pose graph of the centred fragments in the form that the protocols score."""
        placed = graph.component >= 0
        unknown = np.full((self.scene.count, 6, 6), np.nan)
        poses, covariances, edges = restored(graph.poses, unknown, graph.edges, self.centers)
        _, _, pairs = restored(graph.poses, unknown, graph.pairwise, self.centers)
        pairs = pairs.select(pairs.inliers > 0)
        keys = zip(pairs.i.tolist(), pairs.j.tolist(), strict=True)
        return SceneResult(self.scene, Registration(
            poses, placed, graph.component, covariances, edges,
            np.where(placed, '', 'no_link').astype(object), {},
        ), dict(zip(keys, pairs.T_i_j, strict=True)), 0.0)


def describe_scene(
    scene: Scene, pipeline: MultiviewRegistration, progress: Progress
) -> DescribedScene:
    """Read and describe the fragments of a scene."""
    given = read_fragments(scene.clouds, pipeline.prepare, progress, scene.read)
    fragments, centers = (list(x) for x in zip(*map(centered, given), strict=True))
    return DescribedScene(
        scene, fragments, np.stack(centers), pipeline.describe(fragments, progress))
