# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The peer for a scene: Open3D's `global_optimization`, with its tutorials' settings.

Open3D offers no start for unordered fragments: from the identity it does badly, so it is also
given the spanning tree of its own inlier counts.
"""

from __future__ import annotations

import time

from benchmarks.peers import DISTANCE, PeerPairs
from mvreg_ros.multiview.graph import chain_poses, components, maximum_spanning_forest
from mvreg_ros.types import Registration
import numpy as np
import open3d as o3d

PRUNE = 0.25
pipelines = o3d.pipelines.registration


def optimize(count: int, pairs: PeerPairs, tree: bool) -> Registration:
    """Return the poses of `global_optimization`, component by component."""
    begin = time.perf_counter()
    edges = pairs.edges()
    poses = np.full((count, 4, 4), np.nan)
    component = components(count, edges.i, edges.j)
    for label in range(component.max(initial=-1) + 1):
        nodes = np.flatnonzero(component == label)
        part = edges.select(component[edges.i] == label)
        i, j = np.searchsorted(nodes, part.i), np.searchsorted(nodes, part.j)
        start = np.tile(np.eye(4), (len(nodes), 1, 1))
        if tree:
            forest = maximum_spanning_forest(len(nodes), i, j, part.inliers.astype(float))
            start = chain_poses(len(nodes), i[forest], j[forest], part.T_i_j[forest])
        graph = pipelines.PoseGraph()
        for pose in start:
            graph.nodes.append(pipelines.PoseGraphNode(pose))
        for row in range(len(part)):
            graph.edges.append(pipelines.PoseGraphEdge(
                int(j[row]), int(i[row]), part.T_i_j[row], part.information[row], True
            ))
        pipelines.global_optimization(
            graph, pipelines.GlobalOptimizationLevenbergMarquardt(),
            pipelines.GlobalOptimizationConvergenceCriteria(),
            pipelines.GlobalOptimizationOption(DISTANCE, PRUNE, 1.0, 0),
        )
        poses[nodes] = [node.pose for node in graph.nodes]
    placed = component >= 0
    return Registration(
        poses=poses, placed=placed, component=component,
        covariances=np.full((count, 6, 6), np.nan), edges=edges,
        reason=np.where(placed, '', 'no_link').astype(object),
        seconds=pairs.seconds | {'synchronization': time.perf_counter() - begin},
    )
