# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Edges that would lay parts of a map on each other which contradict each other.

Parts grow as the spanning forest does, along the edges with the most evidence (Kruskal). Before
two of them become one, all that would come to lie around the edge is looked at, not its own two
fragments alone. What is surest is joined first, so that of several edges that cannot all be right
the weakest is the one that is refused; in large sessions both are, where they are level.
"""

from __future__ import annotations

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.parts import Parts
from mvreg_ros.multiview.surroundings import Placed, Surroundings
from mvreg_ros.types import Edges, FloatArray
import numpy as np

# Of each part so many fragments are looked at, those nearest to the edge.
NEAREST = 12
# Of smaller parts the edge's own surroundings have told already.
LEAST_FRAGMENTS = 3
# In shares at which an edge loses half of its evidence. Where parts belong together up to 4 % of
# the commonly seen points contradict in simulated buildings, and 14 % on real scenes of up to 60
# fragments.
MAX_CONTRADICTION = 2.0
# Of the evidence of a link: who has so much, and would put a part elsewhere, disputes it. In so
# large a session there are corners that cannot be told apart; in smaller ones, where none were
# seen, it would cost right links. Found on a simulated building of 1,000 fragments.
RIVAL = 0.5
MOST_RIVALS = 4
RIVALS_FROM = 250


def contradicted_links(
    edges: Edges, order: Index, surroundings: Surroundings
) -> Index:
    """
    Return the rows of edges that would link parts which contradict each other.

    order: the rows of edges that may link, those with the most evidence first. `surroundings`
    knows the fragments.
    """
    limit = MAX_CONTRADICTION * surroundings.half
    count = surroundings.count
    parts = Parts(np.arange(count), np.tile(np.eye(4), (count, 1, 1)))
    linking = edges.select(order)
    refused = []
    for row in order.tolist():
        raise_if_cancelled()
        i, j, T_i_j = int(edges.i[row]), int(edges.j[row]), edges.T_i_j[row]
        if parts.part[i] == parts.part[j]:
            continue
        here, there = (np.flatnonzero(parts.part == parts.part[k]) for k in (i, j))
        if min(len(here), len(there)) >= LEAST_FRAGMENTS:
            share = surroundings.contradiction_between(
                nearest(parts, here, i), nearest(parts, there, j), T_i_j)
            if share > limit:
                refused.append(row)
                continue
        if count >= RIVALS_FROM:
            rivals = linking.select(linking.evidence >= RIVAL * edges.evidence[row])
            if any(disputed(parts, link, rivals, surroundings, limit)
                   for link in ((i, j, T_i_j), (j, i, np.linalg.inv(T_i_j)))):
                refused.append(row)
                continue
        parts = parts.joined(i, j, T_i_j)
    return np.array(refused, np.int64)


def disputed(
    parts: Parts, link: tuple[int, int, FloatArray], rivals: Edges, surroundings: Surroundings,
    limit: float,
) -> bool:
    """
    Return whether others claim the part of i, and not both can be right.

    link: i, j and T_i_j. rivals: edges with as much evidence or not much less.
    """
    i, j, T_i_j = link
    own, other = parts.part[i], parts.part[j]
    a, b = parts.part[rivals.i], parts.part[rivals.j]
    elsewhere = (a == own) ^ (b == own)
    elsewhere &= (a != other) & (b != other)
    size = np.bincount(parts.part)[parts.part]
    elsewhere &= np.where(a == own, size[rivals.j], size[rivals.i]) >= LEAST_FRAGMENTS
    rows = np.flatnonzero(elsewhere)[:MOST_RIVALS]
    if not len(rows) or size[j] < LEAST_FRAGMENTS:
        return False
    side_j = nearest(parts, np.flatnonzero(parts.part == other), j)
    for row in rows:
        k, m, T_k_m = int(rivals.i[row]), int(rivals.j[row]), rivals.T_i_j[row]
        if parts.part[k] != own:
            k, m, T_k_m = m, k, np.linalg.inv(T_k_m)
        T_i_k = np.linalg.inv(parts.poses[i]) @ parts.poses[k]
        T_j_m = np.linalg.inv(T_i_j) @ T_i_k @ T_k_m
        side_m = nearest(parts, np.flatnonzero(parts.part == parts.part[m]), m)
        if surroundings.contradiction_between(side_j, side_m, T_j_m) > limit:
            return True
    return False


def nearest(parts: Parts, ids: Index, k: int) -> Placed:
    """Return those of the fragments that are nearest to fragment k, with T_k_fragment."""
    T = np.linalg.inv(parts.poses[k]) @ parts.poses[ids]
    order = np.argsort(np.linalg.norm(T[:, :3, 3], axis=1), kind='stable')
    return [(int(ids[row]), T[row]) for row in order[:NEAREST]]
