# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which fragments of a simulated session overlap, by how much, and what a pair can tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mvreg_ros.data.logs import Pair
from mvreg_ros.simulate.session import SimulatedSession
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

# What the published gt_overlap.log of 3DMatch were made with: 1.5 voxels of 2.5 cm.
OVERLAP_RADIUS = 0.0375
# The published gt.info count no more correspondences than this.
MOST_CORRESPONDENCES = 5000


def world_points(session: SimulatedSession) -> list[FloatArray]:
    """Return the points of each fragment in the world, (N, 3) float64."""
    return [
        fragment.points @ pose[:3, :3].T + pose[:3, 3]
        for fragment, pose in zip(session.fragments, session.T_world_fragment, strict=True)
    ]


def overlaps(session: SimulatedSession, radius: float = OVERLAP_RADIUS) -> FloatArray:
    """
    Return (S, S): the share of the points of fragment i with one of j within `radius`, m.

    Only pairs i < j are looked at, as in gt_overlap.log; elsewhere it is zero.
    """
    clouds = world_points(session)
    trees = [cKDTree(cloud) for cloud in clouds]
    share = np.zeros((len(clouds), len(clouds)))
    for i, j in zip(*boxes_that_meet(trees, radius), strict=True):
        share[i, j] = len(near(clouds[i], trees[j], radius)) / max(len(clouds[i]), 1)
    return share


def boxes_that_meet(
    trees: Sequence[cKDTree], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return i < j of the trees whose boxes are not farther apart than `radius`, m."""
    low, high = (np.array([getattr(tree, name) for tree in trees]) for name in ('mins', 'maxes'))
    meet = np.all(low[:, None] <= high[None] + radius, axis=2)
    i, j = np.nonzero(np.triu(meet & meet.T, 1))
    return i, j


def near(points: FloatArray, tree: cKDTree, radius: float) -> NDArray[np.int64]:
    """Return the rows of `points` that have a point of the tree within `radius`."""
    inside = np.all((points > tree.mins - radius) & (points < tree.maxes + radius), axis=1)
    rows = np.flatnonzero(inside)
    distance, _ = tree.query(points[rows], distance_upper_bound=radius)
    return rows[np.isfinite(distance)]


def information(session: SimulatedSession, pairs: Iterable[Pair]) -> dict[Pair, FloatArray]:
    """
    Return the (6, 6) information of T_i_j of pairs as in gt.info, translation before rotation.

    It is the sum of G^T G with G = [I, -[p]x] over the points p of j, in the frame of i, that have
    a point of i within the radius of `overlaps`; 5000 of them where there are more.
    """
    trees = [cKDTree(fragment.points) for fragment in session.fragments]
    return {(i, j): _information(session, i, j, trees[i]) for i, j in pairs}


def _information(session: SimulatedSession, i: int, j: int, tree: cKDTree) -> FloatArray:
    T_i_j = np.linalg.inv(session.T_world_fragment[i]) @ session.T_world_fragment[j]
    points = session.fragments[j].points @ T_i_j[:3, :3].T + T_i_j[:3, 3]
    rows = near(points, tree, OVERLAP_RADIUS)
    if len(rows) > MOST_CORRESPONDENCES:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_CORRESPONDENCES).astype(np.int64)]
    x, y, z = points[rows].T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]])
    upper = -cross.sum(2)
    lower = np.einsum('kan,kbn->ab', cross, cross)
    return np.block([[len(rows) * np.eye(3), upper], [upper.T, lower]])
