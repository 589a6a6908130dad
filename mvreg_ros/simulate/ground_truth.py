# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which fragments of a simulated session overlap, and by how much."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mvreg_ros.simulate.session import SimulatedSession
from mvreg_ros.types import FloatArray

OVERLAP_RADIUS = 0.075


def world_points(session: SimulatedSession) -> list[FloatArray]:
    """Return the points of each fragment in the world, (N, 3) float64."""
    return [
        fragment.points @ pose[:3, :3].T + pose[:3, 3]
        for fragment, pose in zip(session.fragments, session.T_world_fragment, strict=True)
    ]


def overlaps(session: SimulatedSession, radius: float = OVERLAP_RADIUS) -> FloatArray:
    """
    Return the overlap of each pair of fragments, (S, S), symmetric, ones on the diagonal.

    It is the share of the points of the smaller that have a point of the other within `radius`.
    """
    clouds = world_points(session)
    trees = [cKDTree(cloud) for cloud in clouds]
    result = np.eye(len(clouds))
    for i in range(len(clouds)):
        for j in range(i + 1, len(clouds)):
            small, large = (i, j) if len(clouds[i]) <= len(clouds[j]) else (j, i)
            found = near(clouds[small], trees[large], radius)
            result[i, j] = result[j, i] = len(found) / max(len(clouds[small]), 1)
    return result


def near(points: FloatArray, tree: cKDTree, radius: float) -> NDArray[np.int64]:
    """Return the rows of `points` that have a point of the tree within `radius`."""
    inside = np.all((points > tree.mins - radius) & (points < tree.maxes + radius), axis=1)
    rows = np.flatnonzero(inside)
    distance, _ = tree.query(points[rows], distance_upper_bound=radius)
    return rows[np.isfinite(distance)]
