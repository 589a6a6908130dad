# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triplet support: how many other paths of two edges say the same as an edge does."""

from __future__ import annotations

from mvreg_ros.multiview.graph import adjacency, Index
from mvreg_ros.types import FloatArray
import numpy as np


def rotation_angle(rotation: FloatArray) -> FloatArray:
    """Return the angle of rotations (..., 3, 3), in radians."""
    trace = np.trace(rotation, axis1=-2, axis2=-1)
    return np.arccos(np.clip((trace - 1) / 2, -1, 1))


def triplet_support(
    count: int, i: Index, j: Index, T_i_j: FloatArray, weight: FloatArray,
    max_angle: float, max_distance: float,
) -> FloatArray:
    """
    Return (E,) the sum over all k of min(w_ik, w_kj) where T_ik T_kj agrees with T_ij.

    weight: (E,) evidence of each edge. max_angle (rad) and max_distance (m) bound the loop error.
    """
    number = adjacency(count, i, j, 1 + np.arange(len(i)))
    neighbors = [
        dict(zip(row.indices.tolist(), (row.data - 1).tolist(), strict=True))
        for row in (number + number.T)
    ]
    inverse = np.linalg.inv(T_i_j)
    edge, first, second = [], [], []
    for e, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
        for k in neighbors[a].keys() & neighbors[b].keys():
            edge.append(e)
            first.append(neighbors[a][k])
            second.append(neighbors[b][k])
    if not edge:
        return np.zeros(len(i))
    rows, f, g = (np.array(x) for x in (edge, first, second))
    T_i_k = np.where((i[f] == i[rows])[:, None, None], T_i_j[f], inverse[f])
    T_k_j = np.where((j[g] == j[rows])[:, None, None], T_i_j[g], inverse[g])
    loop = inverse[rows] @ T_i_k @ T_k_j
    closes = rotation_angle(loop[:, :3, :3]) < max_angle
    closes &= np.linalg.norm(loop[:, :3, 3], axis=1) < max_distance
    agreeing = np.where(closes, np.minimum(weight[f], weight[g]), 0.0)
    return np.bincount(rows, agreeing, len(i)).astype(np.float64)
