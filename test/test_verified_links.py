# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a map are joined by what is surest, and not where they contradict each other."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.multiview.surroundings import Surroundings
from mvreg_ros.multiview.verified_links import contradicted_links
from mvreg_ros.types import Edges
import numpy as np
from test_surroundings import edge, FEATURES, LEFT, POSES, TOLERANCE, VIEWS, within_rooms

WRONG = [edge(LEFT, VIEWS + LEFT, np.eye(4), 60.0), edge(LEFT, VIEWS + LEFT, np.eye(4), 40.0)]


def refused(edges: Edges) -> list[int]:
    """Return the rows that are refused, all edges in the order of their evidence."""
    order = np.argsort(-edges.evidence, kind='stable')
    found: list[int] = contradicted_links(
        edges, order, Surroundings(FEATURES, TOLERANCE)).tolist()
    return found


def test_two_rooms_are_not_joined_at_a_wall_that_both_have() -> None:
    """Each of several edges that say so is refused; those within the rooms are not."""
    inside = within_rooms()
    edges = Edges.of([*inside, *WRONG])
    assert refused(edges) == [len(inside), len(inside) + 1]


def test_rooms_that_lie_apart_are_joined() -> None:
    """Ten metres from each other nothing contradicts anything."""
    T = np.eye(4)
    T[:3, 3] = POSES[LEFT][:3, :3].T @ (10, 0, 0)
    assert refused(Edges.of([*within_rooms(), replace(WRONG[0], T_i_j=T)])) == []


def test_what_closes_a_loop_is_not_asked() -> None:
    """Both its fragments are in one part already: IRLS decides, which sees the whole loop."""
    edges = Edges.of([*within_rooms(), edge(0, LEFT, np.eye(4), 50.0)])
    assert refused(edges) == []


def test_the_weaker_of_two_is_refused() -> None:
    """A third room is the second again: it hangs on the first by what comes first."""
    features = [*FEATURES, *FEATURES[VIEWS:]]
    third = [replace(each, i=each.i + VIEWS, j=each.j + VIEWS) for each in within_rooms()[VIEWS:]]
    same = edge(VIEWS, 2 * VIEWS, np.eye(4), 70.0)  # the second and the third are one room
    for evidence, expected in ((60.0, 1), (80.0, 0)):
        links = [same, edge(LEFT, 2 * VIEWS + LEFT, np.eye(4), evidence)]
        inside = [*within_rooms(), *third]
        edges = Edges.of([*inside, *links])
        order = np.argsort(-edges.evidence, kind='stable')
        found = contradicted_links(edges, order, Surroundings(features, TOLERANCE))
        # The first room fits neither, whichever is asked first: only the other is left.
        assert found.tolist() == [len(inside) + 1], (evidence, expected)
