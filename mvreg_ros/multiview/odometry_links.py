# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Odometry as edges of the pose graph.

Registration goes first, and what it is sure of tells whether odometry can be believed. Odometry
then says where to look for links between the parts that registration left, and which of its
doubtful edges may be right. A link needs evidence of its own: that the sensors saw it, or that
odometry was right over a way that it is on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from mvreg_ros.multiview.graph import bridges, components
from mvreg_ros.multiview.odometry import deviations, OdometryConfig, Track
from mvreg_ros.multiview.odometry_evidence import Look
from mvreg_ros.multiview.odometry_joining import attempt, Told
from mvreg_ros.multiview.odometry_trust import disputed, error_scale
from mvreg_ros.multiview.parts import Parts
from mvreg_ros.multiview.pose_graph import anchored, Synchronization
from mvreg_ros.types import Edges, Fragment, Verdict
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LinkConfig:
    """
    When odometry links.

    gate: squared deviations (in six directions) beyond which two motions are not the same, one in
    a thousand. max_drift: how many times as large as expected the errors of odometry may be where
    registration is sure; beyond, it is not used at all. doubtful: odometry decides for edges with
    so many inliers or more. doubtful_gate: as the gate, one in ten, for those, of which many agree
    by chance.
    """

    gate: float = 22.5
    doubtful_gate: float = 10.6
    max_drift: float = 2.5
    doubtful: float = 18.0
    odometry: OdometryConfig = field(default_factory=OdometryConfig)


def with_odometry(
    graph: Synchronization, fragments: Sequence[Fragment], look: Look,
    config: LinkConfig | None = None,
) -> Synchronization:
    """
    Return the graph with an edge of odometry from each fragment to the next by time.

    Within the parts that registration has linked nothing moves. The parts are linked by edges
    that were too weak but say what odometry says, and else from one fragment to the next: where a
    `look` at both confirms it by the motion that was seen, and by that of odometry where they have
    too little in common but are on a way over which odometry was right. How far odometry is
    believed is seen within the parts: a run of it that cannot be checked there links nothing, nor
    is a part linked that it contradicts.
    """
    config = config or LinkConfig()
    track = Track(fragments, config.odometry)
    links = track.edges()
    if not len(links):
        return graph
    edges = concatenated(graph.edges, links)
    pairwise = concatenated(graph.pairwise, links)
    by_odometry = np.arange(len(edges)) >= len(graph.edges)
    T_odom, sigma = track.between(edges.i, edges.j)
    alone = graph.component < 0
    part = np.where(alone, graph.component.max() + np.cumsum(alone), graph.component)
    parts = Parts(part, np.where(alone[:, None, None], np.eye(4), graph.poses))

    scale = error_scale(track, part, parts.poses)
    believed = scale <= config.max_drift
    doubted = disputed(
        track, part, parts.poses, np.where(believed, scale, np.inf), graph.edges, config.gate)
    trusted, scale = believed[edges.i], scale[edges.i]
    own = by_odometry & trusted
    edges.reason[by_odometry & ~trusted] = 'odometry_drifts'
    edges.reason[by_odometry & np.isnan(scale)] = 'odometry_unconfirmed'
    edges.confidence[by_odometry & ~trusted] = 0.0
    if not own.any():
        return replace(graph, edges=edges, pairwise=pairwise)
    edges.information[own] /= np.square(scale[own])[:, None, None]

    across = trusted & (part[edges.i] != part[edges.j])
    in_doubt = across & (doubted[edges.i] | doubted[edges.j])
    edges.reason[own & in_doubt] = 'odometry_disputed'
    expected = scale[:, None] * sigma
    most = config.odometry.maximum_distance, config.odometry.maximum_angle
    imprecise = across & ~in_doubt & ~(expected <= most).all(1)
    edges.reason[own & imprecise] = 'odometry_imprecise'
    # The larger deviation, since it is held against edges that err as well.
    told = Told(T_odom, np.maximum(sigma, expected), config.gate, own)
    candidates = in_order(edges, across & ~in_doubt & ~imprecise, told, config)
    for row in candidates:
        if parts.part[edges.i[row]] == parts.part[edges.j[row]]:
            continue
        parts, edges.T_i_j[row], edges.information[row], against = attempt(
            row, edges, parts, track, told, look)
        if not against:
            edges.verdict[row], edges.confidence[row] = Verdict.KEPT, pairwise.confidence[row]
            edges.reason[row] = 'odometry' if by_odometry[row] else 'odometry_agrees'
        elif by_odometry[row]:
            edges.reason[row] = against

    inside = own & (parts.part[edges.i] == parts.part[edges.j]) & ~edges.used
    agree = inside & told.is_said_by(parts.relative(edges), np.arange(len(edges)))
    edges.verdict[agree], edges.reason[agree] = Verdict.KEPT, 'odometry'
    edges.reason[inside & ~agree] = 'odometry_inconsistent'
    edges.confidence[by_odometry & ~edges.used] = 0.0
    used = edges.select(edges.used)
    component = components(len(fragments), used.i, used.j)
    return Synchronization(
        anchored(parts.poses, component), component, with_bridges(edges), pairwise)


def in_order(edges: Edges, across: NDArray[np.bool_], told: Told, config: LinkConfig) -> list[int]:
    """
    Return the edges that may join parts, in the order in which they are tried.

    across: (E,) which edges could. Those of registration are doubtful and go first.
    """
    doubtful = across & ~told.steps & (edges.evidence >= config.doubtful)
    doubtful &= deviations(edges.T_i_j, told.T_i_j, told.sigma) < config.doubtful_gate
    weak, steps = np.flatnonzero(doubtful), np.flatnonzero(across & told.steps)
    return [*weak[np.argsort(-edges.evidence[weak], kind='stable')].tolist(),
            *steps[np.argsort(told.sigma[steps, 0], kind='stable')].tolist()]


def with_bridges(edges: Edges) -> Edges:
    """Return the edges with a verdict anew for those in use."""
    verdict, reason = edges.verdict.copy(), edges.reason.copy()
    rows = np.flatnonzero(edges.used)
    cut = bridges(edges.i[rows], edges.j[rows])
    verdict[rows] = np.where(cut, Verdict.BRIDGE, Verdict.KEPT)
    reason[rows[~cut & (reason[rows] == 'only_link')]] = 'consistent'
    return replace(edges, verdict=verdict, reason=reason)


def concatenated(a: Edges, b: Edges) -> Edges:
    """Return the rows of both, the arrays new."""
    return Edges(**{
        each.name: np.concatenate([getattr(a, each.name), getattr(b, each.name)])
        for each in fields(Edges)})
