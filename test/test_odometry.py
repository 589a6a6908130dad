# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry as edges: it links what registration leaves, and is not believed when it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mvreg_ros.multiview.odometry import deviations, OdometryConfig, Track
from mvreg_ros.multiview.odometry_evidence import looking_at, Sighting
from mvreg_ros.multiview.odometry_links import with_odometry
from mvreg_ros.multiview.pose_graph import Synchronization, synchronize
from mvreg_ros.pairwise.visibility import Visibility
from mvreg_ros.types import (
    Edges,
    FloatArray,
    Fragment,
    FragmentFeatures,
    PairRegistration,
    Verdict,
)
import numpy as np
from odometry_looks import clear, nothing
import pytest
from random_graphs import noise
from scipy.spatial.transform import Rotation
import torch

COUNT = 9
NOTHING = np.zeros((0, 3), np.float32)


def walk(count: int = COUNT) -> np.ndarray:
    """Return (count, 4, 4) poses along a curve, each half a metre and 15 degrees further."""
    step = np.eye(4)
    step[:3, :3] = Rotation.from_euler('z', 15, degrees=True).as_matrix()
    step[0, 3] = 0.5
    return np.stack([np.linalg.matrix_power(step, k) for k in range(count)])


TRUTH = walk()


def fragments(T_odom: Sequence[np.ndarray | None]) -> list[Fragment]:
    """Return fragments with these poses by odometry, in the order of stamps."""
    return [Fragment(NOTHING, k, stamp_ns=10 * k, T_odom_fragment=T) for k, T in enumerate(T_odom)]


def edge(i: int, j: int, inliers: float = 200.0, T: np.ndarray | None = None) -> PairRegistration:
    """Return an edge with so much evidence, the true one if none is given."""
    T_i_j = np.linalg.inv(TRUTH[i]) @ TRUTH[j] if T is None else T
    return PairRegistration(i, j, T_i_j, int(inliers), inliers, 0.9, 1e4 * np.eye(6))


def graph(*edges: PairRegistration, count: int = COUNT) -> Synchronization:
    """Return what registration alone makes of edges."""
    return synchronize(count, Edges.of(list(edges)), 0.85)


# 0-1-2-3 and 4-5-6 are linked, 7 and 8 are alone.
PARTS = graph(*[edge(i, j) for i, j in ((0, 1), (1, 2), (2, 3), (0, 2), (4, 5), (5, 6), (4, 6))])


def reasons(found: Synchronization) -> dict[tuple[int, int], str]:
    """Return the reasons of the edges of odometry."""
    rows = np.flatnonzero(found.edges.inliers == 0)
    return {(int(found.edges.i[row]), int(found.edges.j[row])): found.edges.reason[row]
            for row in rows}


def assert_true(found: Synchronization, atol: float = 1e-9) -> None:
    """Check that all fragments are in one component and where they are."""
    assert (found.component == 0).all()
    np.testing.assert_allclose(found.poses, TRUTH, atol=atol)


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


def test_stamps_and_not_ids_say_what_follows_what() -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    some = [replace(f, stamp_ns=10 * int(k)) for f, k in zip(
        fragments(walk()[order]), order, strict=True)]
    track = Track(some, OdometryConfig())
    assert order[track.ids].tolist() == list(range(COUNT))
    edges = track.edges()
    assert (edges.i < edges.j).all()
    assert (np.abs(order[edges.i] - order[edges.j]) == 1).all()
    truth = walk()[order]
    np.testing.assert_allclose(
        edges.T_i_j, np.linalg.inv(truth[edges.i]) @ truth[edges.j], atol=1e-9)


def test_a_fragment_without_odometry_is_stepped_over() -> None:
    T_odom = [*TRUTH[:4], None, *TRUTH[5:]]
    found = with_odometry(PARTS, fragments(T_odom), clear)
    assert_true(found)
    assert (3, 5) in reasons(found)


def test_odometry_is_surer_of_a_short_way() -> None:
    track = Track(fragments(TRUTH), OdometryConfig())
    _, sigma = track.between(np.zeros(COUNT, int), np.arange(COUNT))
    assert (np.diff(sigma, axis=0) > 0).all()
    config = OdometryConfig()
    np.testing.assert_allclose(sigma[0], [config.distance, config.angle])
    np.testing.assert_allclose(sigma[2], [
        config.distance + config.distance_per_metre,
        config.angle + config.angle_per_metre + config.angle_per_radian * np.radians(30)])


def test_fragments_of_different_runs_are_not_linked() -> None:
    """The robot was switched off after 3: its odometry began anew, at the identity."""
    began_anew = [*TRUTH[:4], *(np.linalg.inv(TRUTH[4]) @ TRUTH[4:])]
    some = [replace(f, odometry_run=int(k > 3)) for k, f in enumerate(fragments(began_anew))]
    found = with_odometry(PARTS, some, clear)
    assert sorted(reasons(found)) == [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7), (7, 8)]
    assert found.component.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    T_i_j, sigma = Track(some, OdometryConfig()).between(np.array([3, 4]), np.array([4, 5]))
    assert np.isnan(T_i_j[0]).all() and np.isnan(sigma[0]).all()
    np.testing.assert_allclose(T_i_j[1], np.linalg.inv(TRUTH[4]) @ TRUTH[5], atol=1e-9)
    assert np.isfinite(sigma[1]).all()


def test_a_bag_that_is_played_twice_is_two_walks() -> None:
    """The stamps of the second run are those of the first."""
    twice = [replace(f, odometry_run=run) for run in range(2) for f in fragments(TRUTH[:3])]
    edges = Track(twice, OdometryConfig()).edges()
    assert list(zip(edges.i, edges.j, strict=True)) == [(0, 1), (1, 2), (3, 4), (4, 5)]


def test_a_run_of_one_fragment_links_nothing() -> None:
    some = [replace(f, odometry_run=k) for k, f in enumerate(fragments(TRUTH))]
    assert with_odometry(PARTS, some, clear) is PARTS


def test_an_angle_moves_what_is_far_from_the_sensor() -> None:
    far = [replace(f, sensor_origin=np.array([0, 0, -4], np.float32)) for f in fragments(TRUTH)]
    near, there = (Track(some, OdometryConfig()).between(np.array([0]), np.array([1]))[1][0]
                   for some in (fragments(TRUTH), far))
    assert there[1] == pytest.approx(near[1], abs=1e-6)
    assert there[0] > 4 * there[1] > near[0]


def test_deviations_count_translation_and_rotation() -> None:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('x', 0.2).as_matrix()
    T[:3, 3] = 0, 0.3, 0
    found = deviations(np.eye(4)[None], T[None], np.array([[0.1, 0.1]]))
    np.testing.assert_allclose(found, 3**2 + 2**2)


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


@pytest.mark.parametrize('seed', range(5))
def test_what_registration_has_linked_does_not_move(seed: int) -> None:
    wild = TRUTH @ noise(np.random.default_rng(seed), COUNT, 0.1, 0.1)
    found = with_odometry(PARTS, fragments(wild), clear)
    for part in ([0, 1, 2, 3], [4, 5, 6]):
        relative = np.linalg.inv(found.poses[part[0]]) @ found.poses[part]
        np.testing.assert_allclose(
            relative, np.linalg.inv(TRUTH[part[0]]) @ TRUTH[part], atol=1e-9)


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


def carried(after: int) -> list[np.ndarray]:
    """Return odometry of a robot that was carried away after a fragment."""
    away = np.linalg.inv(TRUTH[after]) @ TRUTH[after + 1]
    return [*TRUTH[:after + 1], *(TRUTH[after] @ np.linalg.inv(away) @ np.linalg.inv(
        TRUTH[after]) @ TRUTH[after + 1:])]


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


def wall(distance: float) -> FragmentFeatures:
    """Return a wall ahead of a sensor."""
    x, y = np.meshgrid(np.arange(-1, 1, 0.05), np.arange(-1, 1, 0.05))
    points = torch.from_numpy(np.stack([x, y, np.full_like(x, distance)], -1).reshape(-1, 3))
    return FragmentFeatures(
        points.float(), torch.zeros(len(points), 3), torch.zeros(len(points), 1), torch.zeros(3))


def test_a_look_contradicts_where_one_saw_through_what_the_other_has() -> None:
    look = looking_at([wall(2.0), wall(2.0), wall(1.0)], 0.05)
    information = 1e4 * np.eye(6)
    assert not look(0, 1, np.eye(4), information).contradicted
    assert look(0, 2, np.eye(4), information).contradicted
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler('y', np.pi).as_matrix()
    assert not look(0, 2, turned, information).contradicted


def test_a_wall_confirms_only_what_is_known_along_it() -> None:
    """It is seen by both and nothing contradicts it, but it tells nothing of two directions."""
    look = looking_at([wall(2.0), wall(2.0)], 0.05)
    assert look(0, 1, np.eye(4), 1e4 * np.eye(6)).confirmed
    assert not look(0, 1, np.eye(4), 20 * np.eye(6)).confirmed
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler('y', np.pi).as_matrix()
    assert not look(0, 1, turned, 1e4 * np.eye(6)).confirmed


def test_what_no_sensor_has_seen_stays_apart() -> None:
    """Odometry is right wherever it can be checked, but 3 and 4 have nothing in common."""
    found = with_odometry(PARTS, fragments(TRUTH), nothing)
    assert {pair for pair, reason in reasons(found).items() if reason == 'odometry_unseen'} == {
        (3, 4), (6, 7), (7, 8)}
    np.testing.assert_array_equal(found.component, PARTS.component)


def jumping(after: int) -> list[np.ndarray]:
    """Return odometry that jumps by two metres after a fragment."""
    away = np.eye(4)
    away[:2, 3] = 1.0, -1.7
    return [*TRUTH[:after + 1], *(away @ TRUTH[after + 1:])]


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
