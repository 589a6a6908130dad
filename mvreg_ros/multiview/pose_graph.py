# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pose graph: which edges to believe, and the absolute poses that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mvreg_ros.multiview.graph import (
    bridges,
    chain_poses,
    components,
    Index,
    maximum_spanning_forest,
)
from mvreg_ros.multiview.irls import (
    cauchy_weights,
    edge_residuals,
    harmonic_mean,
    IrlsConfig,
    reweighted_sync,
)
from mvreg_ros.multiview.support import triplet_support
from mvreg_ros.pairwise.confidence import inlier_confidence, SLOPE
from mvreg_ros.types import Edges, FloatArray, Verdict
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

# Sessions up to this size are what `link` was chosen for.
FRAGMENTS = 60


@dataclass(frozen=True)
class PoseGraphConfig:
    """
    How edges are chosen.

    Evidence is counted in inliers. certain: from here on an edge may support others.
    support_weight: what an inlier of support counts. support_angle (rad), support_distance (m):
    loop error of a closed triplet. link: what an edge needs to link two parts that nothing else
    links, see `needed_to_link`. max_weight: evidence beyond this adds nothing.
    """

    certain: float = 50.0
    support_weight: float = 0.5
    support_angle: float = np.radians(10.0)
    support_distance: float = 0.3
    link: float = 35.0
    max_weight: float = 300.0
    irls: IrlsConfig = field(default_factory=IrlsConfig)

    def needed_to_link(self, count: int) -> float:
        """
        Return what an edge needs to be the only link, in a session of `count` fragments.

        With ten times as many fragments ten times as many pairs are tried, and the best wrong one
        is as good as was one in ten before; how evidence has to grow for that is the slope of
        `inlier_confidence`.
        """
        return self.link * max(1.0, count / FRAGMENTS) ** (1 / SLOPE)

    @classmethod
    def for_voxel_size(cls, voxel_size: float) -> PoseGraphConfig:
        """Return the defaults, which are for voxels of 2.5 cm, with all lengths scaled."""
        scale = voxel_size / 0.025
        return cls(
            support_distance=cls.support_distance * scale, irls=IrlsConfig(unit=scale)
        )


@dataclass(frozen=True)
class Synchronization:
    """
    Absolute poses from edges.

    poses: (S, 4, 4) T_map_fragment, the first fragment of each component at the identity, NaN for
    a fragment alone. component: (S,) 0 is the largest, -1 a fragment alone. edges: with verdicts
    and joint confidences. pairwise: the same edges as the pairs alone gave them.
    """

    poses: FloatArray
    component: Index
    edges: Edges
    pairwise: Edges


def synchronize(
    count: int, edges: Edges, min_confidence: float, config: PoseGraphConfig | None = None
) -> Synchronization:
    """
    Return the poses of `count` fragments that the edges agree on, and a verdict for every edge.

    Edges below `min_confidence` (tau_p) are pruned unless the spanning forest with the most
    evidence needs them. What is left falls into components; each starts from its tree and is
    synchronised on its own. Edges that then disagree are pruned, too.
    """
    config = config or PoseGraphConfig()
    weight = supported_evidence(count, edges, config)
    c_local = inlier_confidence(weight)
    linking = np.flatnonzero(edges.evidence >= config.needed_to_link(count))
    forest = np.zeros(len(edges), bool)
    forest[linking] = maximum_spanning_forest(
        count, edges.i[linking], edges.j[linking], weight[linking]
    )
    part = components(count, edges.i[forest], edges.j[forest])
    inside = (part[edges.i] == part[edges.j]) & (part[edges.i] >= 0)
    taken = inside & (c_local >= min_confidence) | forest

    poses = synchronize_components(
        count, edges.select(taken), forest[taken], np.minimum(weight[taken], config.max_weight),
        config.irls,
    )
    residual = residuals_of(edges, poses, config.irls)
    c_global = cauchy_weights(residual, config.irls.scale, config.irls.power)
    c = harmonic_mean(torch.from_numpy(c_local), torch.from_numpy(inside) * c_global).numpy()
    return judged(edges, poses, taken, c, config.irls, pairwise=edges)


def linking_order(count: int, edges: Edges, config: PoseGraphConfig) -> Index:
    """Return the rows of the edges that may link parts, those with the most evidence first."""
    weight = supported_evidence(count, edges, config)
    linking = np.flatnonzero(edges.evidence >= config.needed_to_link(count))
    order: Index = linking[np.argsort(-weight[linking], kind='stable')]
    return order


def residuals_of(edges: Edges, poses: FloatArray, config: IrlsConfig) -> Tensor:
    """Return (E,) r* of Eq. 14."""
    M, i, j, T_i_j = map(torch.from_numpy, (poses, edges.i, edges.j, edges.T_i_j))
    return edge_residuals(M, i, j, T_i_j, config.unit)


def judged(
    edges: Edges, poses: FloatArray, taken: NDArray, confidence: FloatArray, config: IrlsConfig,
    pairwise: Edges,
) -> Synchronization:
    """
    Return the poses with a verdict and a reason for every edge.

    taken: (E,) True for the edges that the poses were found from; those of them that disagree with
    the poses are pruned. confidence: (E,) Eq. 15. pairwise: the edges as the pairs gave them.
    """
    agrees = residuals_of(edges, poses, config) < config.inlier * config.scale
    used = taken & agrees.numpy()
    component = components(len(poses), edges.i[used], edges.j[used])

    verdict = np.where(used, Verdict.KEPT, Verdict.PRUNED).astype(object)
    reason = np.where(
        used, 'consistent', np.where(taken, 'inconsistent', np.where(
            edges.evidence < edges.inliers / 2, 'doubted', 'low_confidence'
        ))
    ).astype(object)
    bridge = used.copy()
    bridge[used] = bridges(edges.i[used], edges.j[used])
    verdict[bridge], reason[bridge] = Verdict.BRIDGE, 'only_link'
    decided = replace(edges, confidence=confidence, verdict=verdict, reason=reason)
    return Synchronization(anchored(poses, component), component, decided, pairwise)


def supported_evidence(count: int, edges: Edges, config: PoseGraphConfig) -> FloatArray:
    """Return (E,) the evidence plus the triplet support among the certain edges, in inliers."""
    certain = np.flatnonzero(edges.evidence >= config.certain)
    support = np.zeros(len(edges))
    support[certain] = triplet_support(
        count, edges.i[certain], edges.j[certain], edges.T_i_j[certain],
        edges.evidence[certain], config.support_angle, config.support_distance,
    )
    return edges.evidence + config.support_weight * support


def synchronize_components(
    count: int, edges: Edges, tree: Index, weight: FloatArray, config: IrlsConfig
) -> FloatArray:
    """
    Return (count, 4, 4) poses, the components each in a frame of its own.

    Bridges are exact, since nothing contradicts them: they are taken out, the blocks between them
    are synchronised from their own trees, and the blocks are chained along the bridges.
    """
    cut = bridges(edges.i, edges.j)
    block = components(count, edges.i[~cut], edges.j[~cut])
    block[block < 0] = block.max(initial=-1) + 1 + np.arange((block < 0).sum())
    poses = np.tile(np.eye(4), (count, 1, 1))
    for label in np.unique(block[edges.i[~cut]]):
        nodes = np.flatnonzero(block == label)
        rows = np.flatnonzero((block[edges.i] == label) & ~cut)
        i, j = np.searchsorted(nodes, edges.i[rows]), np.searchsorted(nodes, edges.j[rows])
        T_i_j, trunk = edges.T_i_j[rows], tree[rows]
        start = chain_poses(len(nodes), i[trunk], j[trunk], T_i_j[trunk])
        poses[nodes] = reweighted_sync(len(nodes), i, j, T_i_j, weight[rows], start, config)

    return chain_blocks(poses, block, edges.i[cut], edges.j[cut], edges.T_i_j[cut])


def chain_blocks(
    poses: FloatArray, block: Index, i: Index, j: Index, T_i_j: FloatArray
) -> FloatArray:
    """
    Return the poses (S, 4, 4) with blocks in the frame of the first block that they hang on.

    block: (S,) the block of each fragment, each block in a frame of its own before. i, j, T_i_j:
    edges between blocks, without loops.
    """
    T_blocks = poses[i] @ T_i_j @ np.linalg.inv(poses[j])
    frames = np.tile(np.eye(4), (block.max(initial=-1) + 1, 1, 1))
    part = components(len(frames), block[i], block[j])
    for label in range(part.max(initial=-1) + 1):
        blocks = np.flatnonzero(part == label)
        rows = np.flatnonzero(part[block[i]] == label)
        frames[blocks] = chain_poses(
            len(blocks), np.searchsorted(blocks, block[i[rows]]),
            np.searchsorted(blocks, block[j[rows]]), T_blocks[rows],
        )
    return frames[block] @ poses


def anchored(poses: FloatArray, component: Index) -> FloatArray:
    """Return the poses with the first fragment of each component at the identity, NaN for -1."""
    result = np.full_like(poses, np.nan)
    for label in range(component.max(initial=-1) + 1):
        nodes = np.flatnonzero(component == label)
        result[nodes] = np.linalg.inv(poses[nodes[0]]) @ poses[nodes]
    return result
