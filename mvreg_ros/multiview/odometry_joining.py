# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a map that are joined link by link, each link by what speaks for it."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.odometry import deviations, Track
from mvreg_ros.multiview.odometry_evidence import Look
from mvreg_ros.multiview.odometry_trust import closed
from mvreg_ros.multiview.parts import Parts
from mvreg_ros.types import Edges, FloatArray
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Told:
    """
    What odometry tells of edges.

    T_i_j: (E, 4, 4). sigma: (E, 2) deviations, m and rad. gate: squared deviations beyond which
    two motions are not the same. steps: (E,) True for edges of trusted odometry.
    """

    T_i_j: FloatArray
    sigma: FloatArray
    gate: float
    steps: NDArray[np.bool_]

    def is_said_by(self, T_i_j: FloatArray, rows: Index) -> NDArray[np.bool_]:
        """Return (R,) whether T_i_j (R, 4, 4) of some edges are what odometry says."""
        return deviations(T_i_j, self.T_i_j[rows], self.sigma[rows]) < self.gate


def attempt(
    row: int, edges: Edges, parts: Parts, track: Track, told: Told, look: Look
) -> tuple[Parts, FloatArray, FloatArray, str]:
    """
    Return the parts after an edge has joined two of them, its motion and its information.

    They are as they were where something speaks against that, with a reason, '' where nothing
    does. The motion is the one that was seen, or that of odometry where the fragments have too
    little in common but odometry was right over a way that the edge is on.
    """
    i, j = int(edges.i[row]), int(edges.j[row])
    before = edges.T_i_j[row], edges.information[row]
    sighting = look(i, j, *before)
    T_i_j, information = sighting.T_i_j, sighting.information
    if sighting.contradicted or not told.is_said_by(T_i_j[None], np.array([row])).all():
        return parts, *before, 'odometry_contradicted'
    if not sighting.confirmed:
        later = max(track.place[i], track.place[j])
        if not (told.steps[row] and closed(track, parts.part, parts.poses)[later]):
            return parts, *before, 'odometry_unseen'
        T_i_j, information = before
    after = parts.joined(i, j, T_i_j)
    apart = parts.part[edges.i] != parts.part[edges.j]
    now = after.part[edges.i] == after.part[edges.j]
    steps = np.flatnonzero(told.steps & apart & now)
    if not told.is_said_by(after.relative(edges.select(steps)), steps).all():
        return parts, *before, 'odometry_inconsistent'
    return after, T_i_j, information, ''
