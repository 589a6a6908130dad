# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a map are joined by what is surest, and not where they contradict each other."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.multiview import verified_links
from mvreg_ros.multiview.surroundings import Surroundings
from mvreg_ros.multiview.verified_links import contradicted_links
from mvreg_ros.types import Edges
import numpy as np
import pytest
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


def test_of_two_that_cannot_both_be_right_the_weaker_is_refused() -> None:
    """A wide and a narrow room hang on the first, ten metres away, both in one place."""
    features = [*FEATURES, *FEATURES[:VIEWS]]
    third = [replace(each, i=each.i + 2 * VIEWS, j=each.j + 2 * VIEWS)
             for each in within_rooms()[:VIEWS]]
    inside = [*within_rooms(), *third]
    there = np.eye(4)
    there[:3, 3] = POSES[LEFT][:3, :3].T @ (10, 0, 0)
    for strong, weak in ((VIEWS, 2 * VIEWS), (2 * VIEWS, VIEWS)):
        links = [edge(LEFT, strong + LEFT, there, 80.0), edge(LEFT, weak + LEFT, there, 60.0)]
        for each in (links, links[::-1]):
            edges = Edges.of([*inside, *each])
            order = np.argsort(-edges.evidence, kind='stable')
            found = contradicted_links(edges, order, Surroundings(features, TOLERANCE))
            assert found.tolist() == [len(inside) + each.index(links[1])]


@pytest.mark.parametrize(('evidence', 'expected'), [(60.0, 2), (30.0, 1)])
def test_in_large_sessions_a_rival_of_like_evidence_leaves_neither(
    evidence: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wide and a narrow room in one place again; a rival worth less than half is none."""
    monkeypatch.setattr(verified_links, 'RIVALS_FROM', 0)
    features = [*FEATURES, *FEATURES[:VIEWS]]
    third = [replace(each, i=each.i + 2 * VIEWS, j=each.j + 2 * VIEWS)
             for each in within_rooms()[:VIEWS]]
    there = np.eye(4)
    there[:3, 3] = POSES[LEFT][:3, :3].T @ (10, 0, 0)
    links = [edge(LEFT, VIEWS + LEFT, there, 80.0), edge(LEFT, 2 * VIEWS + LEFT, there, evidence)]
    inside = [*within_rooms(), *third]
    edges = Edges.of([*inside, *links])
    order = np.argsort(-edges.evidence, kind='stable')
    found = contradicted_links(edges, order, Surroundings(features, TOLERANCE)).tolist()
    assert found == [len(inside), len(inside) + 1][-expected:]
