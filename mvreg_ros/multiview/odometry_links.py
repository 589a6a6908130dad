# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Odometry as edges of the pose graph.

Registration goes first, and what it is sure of tells whether odometry can be believed. Odometry
then links the parts that registration left, and says which of its doubtful edges were right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

from mvreg_ros.multiview.graph import bridges, components, Index
from mvreg_ros.multiview.odometry import deviations, OdometryConfig, Track
from mvreg_ros.multiview.odometry_trust import error_scale
from mvreg_ros.multiview.pose_graph import anchored, chain_blocks, Synchronization
from mvreg_ros.pairwise.visibility import visibility
from mvreg_ros.types import Edges, FloatArray, Fragment, FragmentFeatures, Verdict
import numpy as np
from scipy.cluster.hierarchy import DisjointSet
import torch

# Whether fragments i and j contradict each other at T_i_j, which is known to so many metres.
Contradict = Callable[[int, int, FloatArray, float], bool]
# Share of the commonly seen points, and their number. Right poses as coarse as odometry's have up
# to 6 %, those of a robot that was carried away 27 % and more, in simulated flats.
MAX_CONTRADICTION, LEAST_CONTRADICTING = 0.15, 30
TOLERANCE_VOXELS = 4.0


@dataclass(frozen=True)
class LinkConfig:
    """
    When odometry links.

    gate: squared deviations (in six directions) beyond which two motions are not the same, one in
    a thousand. max_drift: how many times as large as expected the errors of odometry may be where
    registration is sure; beyond, it is not used at all. doubtful, precise: odometry decides for
    edges with so many inliers or more if it knows better than so (m); what it knows less well
    agrees by chance.
    """

    gate: float = 22.5
    max_drift: float = 2.5
    doubtful: float = 9.0
    precise: float = 0.5
    odometry: OdometryConfig = field(default_factory=OdometryConfig)


def with_odometry(
    graph: Synchronization, fragments: Sequence[Fragment], contradict: Contradict,
    config: LinkConfig | None = None,
) -> Synchronization:
    """
    Return the graph with an edge of odometry from each fragment to the next by time.

    Within the parts that registration has linked nothing moves. The parts are linked by edges
    that were too weak but say what odometry says, and else by odometry alone, unless the fragments
    `contradict` each other there. How far odometry is believed is seen within the parts: a run of
    it that cannot be checked there links nothing.
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
    block = np.where(alone, graph.component.max() + np.cumsum(alone), graph.component)
    poses = np.where(alone[:, None, None], np.eye(4), graph.poses)

    scale = error_scale(track, block, poses)[edges.i]
    edges.reason[by_odometry & np.isnan(scale)] = 'odometry_unconfirmed'
    edges.reason[by_odometry & (scale > config.max_drift)] = 'odometry_drifts'
    trusted = scale <= config.max_drift
    edges.confidence[by_odometry & ~trusted] = 0.0
    if not trusted[by_odometry].any():
        return replace(graph, edges=edges, pairwise=pairwise)
    expected = scale[:, None] * sigma
    sigma = np.maximum(sigma, expected)  # where it is held against edges that err as well
    known = by_odometry & trusted
    edges.information[known] /= np.square(scale[known])[:, None, None]

    across = trusted & (block[edges.i] != block[edges.j])
    doubtful = across & ~by_odometry & (edges.evidence >= config.doubtful)
    doubtful &= sigma[:, 0] < config.precise
    doubtful &= deviations(edges.T_i_j, T_odom, sigma) < config.gate
    most = config.odometry.maximum_distance, config.odometry.maximum_angle
    imprecise = across & by_odometry & ~(expected <= most).all(1)
    edges.reason[imprecise] = 'odometry_imprecise'
    candidates: list[int] = [
        *sorted(np.flatnonzero(doubtful).tolist(), key=lambda row: -edges.evidence[row]),
        *sorted(
            np.flatnonzero(across & by_odometry & ~imprecise).tolist(),
            key=lambda row: expected[row, 0]),
    ]

    def contradicted(row: int) -> bool:
        return bool(by_odometry[row]) and contradict(
            int(edges.i[row]), int(edges.j[row]), edges.T_i_j[row], float(expected[row, 0]))

    chosen, refused = joining(candidates, block[edges.i], block[edges.j], contradicted)
    edges.reason[refused] = 'odometry_contradicted'
    taken = edges.select(np.array(chosen, np.int64))
    poses = chain_blocks(poses, block, taken.i, taken.j, taken.T_i_j)

    edges.verdict[chosen] = Verdict.KEPT
    edges.reason[doubtful & edges.used] = 'odometry_agrees'
    edges.confidence[chosen] = pairwise.confidence[chosen]
    used = edges.select(edges.used)
    component = components(len(poses), used.i, used.j)
    off = deviations(relative(poses, edges), edges.T_i_j, sigma)
    checked = by_odometry & (edges.reason == 'odometry')
    agrees = checked & (component[edges.i] == component[edges.j]) & (off < config.gate)
    edges.verdict[agrees] = Verdict.KEPT
    edges.reason[checked & ~agrees] = 'odometry_inconsistent'
    edges.confidence[by_odometry & ~agrees] = 0.0
    return Synchronization(
        anchored(poses, component), component, with_bridges(edges), pairwise)


def joining(
    candidates: Iterable[int], i: Index, j: Index, contradicted: Callable[[int], bool],
) -> tuple[list[int], list[int]]:
    """
    Return the candidates that join parts which none before has joined, and the contradicted ones.

    i, j: (E,) the parts that each edge could join.
    """
    chosen, refused = list[int](), list[int]()
    linked = DisjointSet([*i.tolist(), *j.tolist()])
    for row in candidates:
        if linked.connected(i[row], j[row]):
            continue
        if contradicted(row):
            refused.append(row)
        else:
            linked.merge(i[row], j[row])
            chosen.append(row)
    return chosen, refused


def sensors_contradict(
    features: Sequence[FragmentFeatures], voxel_size: float
) -> Contradict:
    """Return a judge that asks whether a sensor saw through what the other fragment has there."""
    def contradict(i: int, j: int, T_i_j: FloatArray, sigma: float) -> bool:
        tolerance = max(TOLERANCE_VOXELS * voxel_size, 2 * sigma)
        seen = visibility(features[i], features[j], torch.from_numpy(T_i_j), tolerance)
        return (
            seen.contradiction > MAX_CONTRADICTION and seen.contradict >= LEAST_CONTRADICTING)

    return contradict


def with_bridges(edges: Edges) -> Edges:
    """Return the edges with a verdict anew for those in use."""
    verdict, reason = edges.verdict.copy(), edges.reason.copy()
    rows = np.flatnonzero(edges.used)
    cut = bridges(edges.i[rows], edges.j[rows])
    verdict[rows] = np.where(cut, Verdict.BRIDGE, Verdict.KEPT)
    reason[rows[~cut & (reason[rows] == 'only_link')]] = 'consistent'
    return replace(edges, verdict=verdict, reason=reason)


def relative(poses: FloatArray, edges: Edges) -> FloatArray:
    """Return (E, 4, 4) T_i_j that follow from poses (S, 4, 4)."""
    return np.linalg.inv(poses[edges.i]) @ poses[edges.j]


def concatenated(a: Edges, b: Edges) -> Edges:
    """Return the rows of both, the arrays new."""
    return Edges(**{
        each.name: np.concatenate([getattr(a, each.name), getattr(b, each.name)])
        for each in fields(Edges)})
