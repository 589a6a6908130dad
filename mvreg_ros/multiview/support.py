# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triplet support: how many other paths of two edges say the same as an edge does."""

from __future__ import annotations

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.multiview.graph import adjacency, Index
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray

CHUNK = 256  # edges whose triplets are looked at together, which bounds the memory


def rotation_angle(rotation: NDArray[np.floating]) -> FloatArray:
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
    support = np.zeros(len(i))
    for begin in range(0, len(i), CHUNK):
        raise_if_cancelled()
        triplets = [
            (edge, neighbors[i[edge]][k], neighbors[j[edge]][k])
            for edge in range(begin, min(begin + CHUNK, len(i)))
            for k in neighbors[i[edge]].keys() & neighbors[j[edge]].keys()
        ]
        rows, f, g = np.array(triplets, np.int64).reshape(-1, 3).T
        T_i_k = np.where((i[f] == i[rows])[:, None, None], T_i_j[f], inverse[f])
        T_k_j = np.where((j[g] == j[rows])[:, None, None], T_i_j[g], inverse[g])
        loop = inverse[rows] @ T_i_k @ T_k_j
        closes = rotation_angle(loop[:, :3, :3]) < max_angle
        closes &= np.linalg.norm(loop[:, :3, 3], axis=1) < max_distance
        agreeing = np.where(closes, np.minimum(weight[f], weight[g]), 0.0)
        support += np.bincount(rows, agreeing, len(i))
    return support
