# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry that is wrong is not believed, and costs at most its own edge."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.multiview.odometry import OdometryConfig
from mvreg_ros.multiview.odometry_evidence import Sighting
from mvreg_ros.multiview.odometry_links import LinkConfig, with_odometry
from mvreg_ros.pairwise.visibility import Visibility
from mvreg_ros.types import FloatArray
import numpy as np
from odometry_looks import clear, nothing
from odometry_walk import (
    assert_true,
    carried,
    COUNT,
    edge,
    fragments,
    graph,
    jumping,
    PARTS,
    reasons,
    TRUTH,
)
import pytest
from scipy.spatial.transform import Rotation


def test_odometry_that_drifts_more_than_it_may_is_not_used() -> None:
    drift = np.eye(4)
    drift[:3, :3] = Rotation.from_euler('z', 0.5).as_matrix()
    steps = np.linalg.inv(TRUTH[:-1]) @ TRUTH[1:]
    T_odom = [np.eye(4)]
    for step in steps:
        T_odom.append(T_odom[-1] @ step @ drift)
    found = with_odometry(PARTS, fragments(T_odom), clear)
    np.testing.assert_array_equal(found.poses, PARTS.poses)
    np.testing.assert_array_equal(found.component, PARTS.component)
    assert set(reasons(found).values()) == {'odometry_drifts'}
    count = len(PARTS.edges)
    assert found.edges.verdict[:count].tolist() == PARTS.edges.verdict.tolist()
    assert not found.edges.used[count:].any()
    assert not found.edges.confidence[count:].any()
    assert len(found.pairwise) == len(found.edges)


@pytest.mark.parametrize('far', [1e3, 1e6])
def test_odometry_that_jumps_far_links_nothing(far: float) -> None:
    away = np.eye(4)
    away[0, 3] = far
    found = with_odometry(PARTS, fragments([*TRUTH[:4], *(away @ TRUTH[4:])]), clear)
    assert reasons(found)[3, 4] == 'odometry_imprecise'
    assert found.component.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    unused = ~found.edges.used
    assert not found.edges.confidence[unused & (found.edges.inliers == 0)].any()


def test_a_robot_carried_within_a_part_costs_one_edge() -> None:
    found = with_odometry(PARTS, fragments(carried(1)), clear)
    assert_true(found)
    assert reasons(found)[1, 2] == 'odometry_inconsistent'
    assert list(reasons(found).values()).count('odometry') == COUNT - 2


def test_a_robot_carried_between_parts_links_none_where_the_sensors_contradict() -> None:
    asked = []

    def contradict(i: int, j: int, T_i_j: FloatArray, information: FloatArray) -> Sighting:
        asked.append((i, j))
        seen = Visibility(600, 400, 1000) if (i, j) == (3, 4) else Visibility(1000, 0, 1000)
        return replace(clear(i, j, T_i_j, information), seen=seen)

    found = with_odometry(PARTS, fragments(carried(3)), contradict)
    assert (3, 4) in asked
    assert reasons(found)[3, 4] == 'odometry_contradicted'
    assert found.component.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert not found.edges.used[found.edges.reason == 'odometry_contradicted'].any()


def test_what_no_sensor_has_seen_stays_apart() -> None:
    """Odometry is right wherever it can be checked, but 3 and 4 have nothing in common."""
    found = with_odometry(PARTS, fragments(TRUTH), nothing)
    assert {pair for pair, reason in reasons(found).items() if reason == 'odometry_unseen'} == {
        (3, 4), (6, 7), (7, 8)}
    np.testing.assert_array_equal(found.component, PARTS.component)


def test_what_was_seen_far_from_where_odometry_says_is_no_link() -> None:
    elsewhere = np.eye(4)
    elsewhere[0, 3] = 0.5

    def strayed(i: int, j: int, T_i_j: FloatArray, information: FloatArray) -> Sighting:
        return clear(i, j, T_i_j @ elsewhere, information)

    found = with_odometry(PARTS, fragments(TRUTH), strayed)
    assert reasons(found)[3, 4] == 'odometry_contradicted'
    np.testing.assert_array_equal(found.component, PARTS.component)


@pytest.mark.parametrize(('evidence', 'linked'), [(60.0, False), (300.0, True)])
def test_a_part_that_odometry_contradicts_is_linked_if_registration_is_sure(
    evidence: float, linked: bool,
) -> None:
    """Rooms look alike: 2 and 3 are said to be where they are not, by so many inliers."""
    wrong = TRUTH[3].copy()
    wrong[:2, 3] += 3.0
    T_2_3 = np.linalg.inv(TRUTH[2]) @ wrong
    before = graph(edge(0, 1), edge(1, 2), edge(0, 2), edge(2, 3, evidence, T_2_3),
                   edge(4, 5), edge(5, 6), edge(4, 6))
    found = with_odometry(before, fragments(TRUTH), clear)
    assert (found.component[3] == found.component[4]) == linked
    assert reasons(found)[3, 4] == ('odometry' if linked else 'odometry_disputed')
    assert reasons(found)[6, 7] == 'odometry'
    assert reasons(found)[2, 3] == 'odometry_inconsistent'


def test_two_links_that_contradict_each_other_are_none() -> None:
    """The robot is carried between the second visit of one part and the second of the other."""
    before = graph(edge(0, 1), edge(0, 4), edge(1, 4), edge(2, 3), edge(2, 5), edge(3, 5),
                   edge(6, 7), edge(7, 8), edge(6, 8))
    found = with_odometry(before, fragments(jumping(4)), clear)
    assert reasons(found)[1, 2] == reasons(found)[4, 5] == 'odometry_inconsistent'
    assert found.component[1] != found.component[2]


def test_odometry_that_is_known_badly_does_not_tell_where_to_look() -> None:
    """From far away surfaces are drawn to others that look like them."""
    asked = []

    def look(i: int, j: int, T_i_j: FloatArray, information: FloatArray) -> Sighting:
        asked.append((i, j))
        return clear(i, j, T_i_j, information)

    config = LinkConfig(odometry=OdometryConfig(distance=0.5))
    found = with_odometry(PARTS, fragments(TRUTH), look, config)
    assert_true(found)  # it is found to be better than expected
    off = np.tile(np.eye(4), (COUNT, 1, 1))
    off[:, 0, 3] = np.random.default_rng(0).normal(0, 0.8, COUNT)
    asked.clear()
    found = with_odometry(PARTS, fragments(TRUTH @ off), look, config)
    assert not asked
    assert reasons(found)[3, 4] == 'odometry_imprecise'
    np.testing.assert_array_equal(found.component, PARTS.component)
