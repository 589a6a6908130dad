# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pose graph: which edges to believe, and the absolute poses that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mvreg_ros.multiview.graph import chain_poses, components, Index, maximum_spanning_forest
from mvreg_ros.multiview.irls import edge_residuals, IrlsConfig, reweighted_sync
from mvreg_ros.multiview.support import triplet_support
from mvreg_ros.types import Edges, FloatArray, Verdict


@dataclass(frozen=True)
class PoseGraphConfig:
    """
    How edges are chosen.

    certain_inliers: from this count on an edge may support others. support_weight: what support
    counts in inliers. support_angle (rad), support_distance (m): largest error of a closed triplet.
    min_inliers: an edge takes part from this count on; bridge_inliers: the least for the only link.
    max_weight: evidence beyond this count adds nothing.
    """

    certain_inliers: int = 50
    support_weight: float = 0.5
    support_angle: float = np.radians(10.0)
    support_distance: float = 0.3
    min_inliers: int = 20
    bridge_inliers: int = 10
    max_weight: float = 300.0
    irls: IrlsConfig = field(default_factory=IrlsConfig)


@dataclass(frozen=True)
class Synchronization:
    """
    Absolute poses from edges.

    poses: (S, 4, 4) T_map_fragment, the first fragment of each component at the identity; NaN for a
    fragment alone. component: (S,) 0 is the largest, -1 a fragment alone. edges: with verdicts.
    """

    poses: FloatArray
    component: Index
    edges: Edges


def evidence(count: int, edges: Edges, config: PoseGraphConfig) -> FloatArray:
    """Return (E,) inliers plus the triplet support among the certain edges, in inliers."""
    inliers = edges.inliers.astype(float)
    certain = np.flatnonzero(edges.inliers >= config.certain_inliers)
    support = np.zeros(len(edges))
    support[certain] = triplet_support(
        count, edges.i[certain], edges.j[certain], edges.T_i_j[certain], inliers[certain],
        config.support_angle, config.support_distance,
    )
    return inliers + config.support_weight * support


def synchronize(
    count: int, edges: Edges, min_confidence: float = 0.85,
    config: PoseGraphConfig | None = None,
) -> Synchronization:
    """
    Return the poses of `count` fragments that the edges agree on, and a verdict for every edge.

    The start decides: along the spanning forest with the most evidence, then reweighted
    synchronisation of each component on its own. Edges below `min_confidence` (tau_p) are pruned
    unless they are the only link between the parts they join.
    """
    config = config or PoseGraphConfig()
    weight = evidence(count, edges, config)
    strong = np.flatnonzero(edges.inliers >= config.bridge_inliers)
    forest = np.zeros(len(edges), bool)
    forest[strong] = maximum_spanning_forest(
        count, edges.i[strong], edges.j[strong], weight[strong]
    )
    part = np.flatnonzero((edges.inliers >= config.min_inliers) | forest)
    i, j, T_i_j = edges.i[part], edges.j[part], edges.T_i_j[part]
    component = components(count, i, j)

    poses = np.full((count, 4, 4), np.nan)
    placed = component >= 0
    root = np.arange(count)
    for label in range(component.max(initial=-1) + 1):
        root[component == label] = np.flatnonzero(component == label)[0]
    start = chain_poses(count, edges.i[forest], edges.j[forest], edges.T_i_j[forest], root)
    c_local = np.minimum(weight[part], config.max_weight) / config.max_weight
    for label in range(component.max(initial=-1) + 1):
        nodes = np.flatnonzero(component == label)
        local = np.full(count, -1)
        local[nodes] = np.arange(len(nodes))
        rows = component[i] == label
        poses[nodes], _ = reweighted_sync(
            len(nodes), local[i[rows]], local[j[rows]], T_i_j[rows], c_local[rows], start[nodes],
            config.irls,
        )

    verdict = np.full(len(edges), Verdict.PRUNED, object)
    reason = np.full(len(edges), 'low_confidence', object)
    consistent = np.zeros(len(edges), bool)
    consistent[part] = edge_residuals(poses, i, j, T_i_j) < 2 * config.irls.scale
    verdict[consistent], reason[consistent] = Verdict.KEPT, 'consistent'
    bridge = forest & (edges.confidence < min_confidence) & consistent
    verdict[bridge], reason[bridge] = Verdict.BRIDGE, 'only_link'
    wrong = np.isin(np.arange(len(edges)), part) & ~consistent
    reason[wrong] = 'inconsistent'
    component = np.where(placed, component, -1)
    return Synchronization(poses, component, replace(edges, verdict=verdict, reason=reason))
