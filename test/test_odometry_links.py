# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry as edges: it links what registration leaves."""

from __future__ import annotations

from mvreg_ros.multiview.odometry import OdometryConfig, Track
from mvreg_ros.multiview.odometry_evidence import Sighting
from mvreg_ros.multiview.odometry_links import with_odometry
from mvreg_ros.types import FloatArray, Verdict
import numpy as np
from odometry_looks import clear, nothing
from odometry_walk import (
    assert_true,
    COUNT,
    edge,
    fragments,
    graph,
    jumping,
    PARTS,
    reasons,
    TRUTH,
    walk,
)
import pytest
from random_graphs import noise


def test_odometry_links_the_parts() -> None:
    assert PARTS.component.tolist() == [0, 0, 0, 0, 1, 1, 1, -1, -1]
    found = with_odometry(PARTS, fragments(TRUTH), clear)
    assert_true(found)
    assert set(reasons(found).values()) == {'odometry'}
    verdicts = {(int(i), int(j)): verdict for i, j, verdict in zip(
        found.edges.i, found.edges.j, found.edges.verdict, strict=True)}
    assert verdicts[3, 4] == verdicts[6, 7] == verdicts[7, 8] == Verdict.BRIDGE
    assert verdicts[2, 3] == verdicts[4, 5] == Verdict.KEPT


def test_an_edge_beside_one_of_odometry_is_no_bridge_any_more() -> None:
    before = graph(edge(0, 1), edge(1, 2), count=3)
    assert set(before.edges.verdict) == {Verdict.BRIDGE}
    after = with_odometry(before, fragments(TRUTH[:3]), clear)
    assert set(after.edges.verdict) == {Verdict.KEPT}
    assert after.edges.reason.tolist() == ['consistent'] * 2 + ['odometry'] * 2


@pytest.mark.parametrize('T_odom', [
    [None] * COUNT, [TRUTH[0], *[None] * (COUNT - 1)],
])
def test_without_odometry_nothing_changes(T_odom: list[np.ndarray | None]) -> None:
    assert with_odometry(PARTS, fragments(T_odom), clear) is PARTS


def test_a_fragment_without_odometry_is_stepped_over() -> None:
    T_odom = [*TRUTH[:4], None, *TRUTH[5:]]
    found = with_odometry(PARTS, fragments(T_odom), clear)
    assert_true(found)
    assert (3, 5) in reasons(found)


def test_a_doubtful_edge_that_odometry_confirms_goes_before_odometry() -> None:
    rng = np.random.default_rng(1)
    drifted = TRUTH @ noise(rng, COUNT, 0.01, 0.02)
    doubtful, wrong = edge(2, 5, 20), edge(1, 6, 30, walk()[8])
    before = graph(*[edge(i, j) for i, j in ((0, 1), (1, 2), (2, 3), (0, 2), (4, 5), (5, 6),
                                             (4, 6))], doubtful, wrong)
    assert before.component.max() == 1
    found = with_odometry(before, fragments(drifted), clear)
    np.testing.assert_allclose(found.poses[:7], TRUTH[:7], atol=1e-9)
    row = int(np.flatnonzero((found.edges.i == 2) & (found.edges.j == 5))[0])
    assert (found.edges.verdict[row], found.edges.reason[row]) == (Verdict.KEPT, 'odometry_agrees')
    row = int(np.flatnonzero((found.edges.i == 1) & (found.edges.j == 6))[0])
    assert found.edges.verdict[row] == Verdict.PRUNED


@pytest.mark.parametrize(('deviations_off', 'agrees'), [(2.5, True), (3.5, False)])
def test_a_doubtful_edge_has_to_be_close_to_what_odometry_says(
    deviations_off: float, agrees: bool,
) -> None:
    _, sigma = Track(fragments(TRUTH), OdometryConfig()).between(np.array([2]), np.array([5]))
    off = np.eye(4)
    off[0, 3] = deviations_off * sigma[0, 0]
    before = graph(edge(0, 1), edge(1, 2), edge(0, 2), edge(4, 5), edge(5, 6), edge(4, 6),
                   edge(2, 5, 20, np.linalg.inv(TRUTH[2]) @ TRUTH[5] @ off))
    edges = with_odometry(before, fragments(TRUTH), clear).edges
    row = np.flatnonzero((edges.i == 2) & (edges.j == 5))[0]
    assert (edges.reason[row] == 'odometry_agrees') == agrees == edges.used[row]


@pytest.mark.parametrize('seed', range(5))
def test_what_registration_has_linked_does_not_move(seed: int) -> None:
    wild = TRUTH @ noise(np.random.default_rng(seed), COUNT, 0.1, 0.1)
    found = with_odometry(PARTS, fragments(wild), clear)
    for part in ([0, 1, 2, 3], [4, 5, 6]):
        relative = np.linalg.inv(found.poses[part[0]]) @ found.poses[part]
        np.testing.assert_allclose(
            relative, np.linalg.inv(TRUTH[part[0]]) @ TRUTH[part], atol=1e-9)


def test_the_motion_of_a_link_is_the_one_that_was_seen() -> None:
    """Odometry is off by centimetres, and what both fragments see corrects it."""
    drifted = TRUTH @ noise(np.random.default_rng(2), COUNT, 0.01, 0.02)

    def corrected(i: int, j: int, T_i_j: FloatArray, information: FloatArray) -> Sighting:
        return clear(i, j, np.linalg.inv(TRUTH[i]) @ TRUTH[j], information)

    found = with_odometry(PARTS, fragments(drifted), corrected)
    assert_true(found)
    rows = np.flatnonzero((found.edges.inliers == 0) & (found.edges.verdict == Verdict.BRIDGE))
    assert len(rows) == 3
    assert (found.edges.information[rows].diagonal(axis1=1, axis2=2) > 1e4).all()
    assert not np.allclose(found.edges.T_i_j[rows], found.pairwise.T_i_j[rows], atol=1e-3)


# The robot has come back: 6 sees what 1 sees.
RETURN = graph(*[edge(i, j) for i, j in ((0, 1), (1, 2), (0, 2), (1, 6), (6, 7), (7, 8))])


def test_a_way_that_closes_confirms_what_no_sensor_has_seen() -> None:
    assert RETURN.component.tolist() == [0, 0, 0, -1, -1, -1, 0, 0, 0]
    found = with_odometry(RETURN, fragments(TRUTH), nothing)
    assert_true(found)
    assert set(reasons(found).values()) == {'odometry'}


@pytest.mark.parametrize('after', [2, 3, 4, 5])
def test_a_way_on_which_the_robot_was_carried_does_not_close(after: int) -> None:
    """One edge holds the way together: who is wrong is not known, and nothing is linked."""
    found = with_odometry(RETURN, fragments(jumping(after)), nothing)
    np.testing.assert_array_equal(found.component, RETURN.component)
    assert {reasons(found)[k, k + 1] for k in range(2, 6)} <= {
        'odometry_disputed', 'odometry_unseen'}
