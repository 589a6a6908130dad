# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Bridges that lay parts of the map on each other which contradict each other.

Nothing closes a loop with a bridge, so that nothing else can doubt it; and what it joins may be
large. All that comes to lie around it is looked at, not its own two fragments alone.
"""

from __future__ import annotations

from mvreg_ros.multiview.graph import components, Index
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.multiview.surroundings import Surroundings
from mvreg_ros.types import Verdict
import numpy as np

# Of each side so many fragments are looked at, those nearest to the bridge.
NEAREST = 12
# Share of the commonly seen points. Bridges that are right have up to 5 % in simulated buildings,
# those that lie in rooms of others half and more.
MAX_CONTRADICTION = 0.15


def doubtful_bridges(graph: Synchronization, surroundings: Surroundings) -> Index:
    """
    Return the rows of the bridges that are contradicted by what lies around them.

    Where several in one place are, as all bridges of a chain that ends in the wrong place, only
    the one that is contradicted most.
    """
    found: list[tuple[float, int, set[int]]] = []
    for row in np.flatnonzero(graph.edges.verdict == Verdict.BRIDGE).tolist():
        sides = nearest_of_sides(graph, row)
        share = surroundings.contradiction_between(*sides, graph.poses)
        if share > MAX_CONTRADICTION:
            found.append((-share, row, {*sides[0], *sides[1]}))
    chosen, there = list[int](), set[int]()
    for _, row, fragments in sorted(found):
        if not fragments & there:
            chosen.append(row)
        there |= fragments
    return np.array(chosen, np.int64)


def nearest_of_sides(graph: Synchronization, row: int) -> tuple[list[int], list[int]]:
    """Return the fragments nearest to a bridge on the side of i and on that of j."""
    edges, poses = graph.edges, graph.poses
    others = edges.used
    others[row] = False
    part = components(len(poses), edges.i[others], edges.j[others])
    part[part < 0] = -1 - np.flatnonzero(part < 0)
    place = poses[edges.i[row], :3, 3]

    def nearest(end: int) -> list[int]:
        side = np.flatnonzero(part == part[end])
        distance = np.linalg.norm(poses[side, :3, 3] - place, axis=1)
        ids: list[int] = side[np.argsort(distance, kind='stable')[:NEAREST]].tolist()
        return ids

    return nearest(edges.i[row]), nearest(edges.j[row])
