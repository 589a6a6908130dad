# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tree of frames: chains, interpolation, and what it does when time jumps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.fusion.motion import is_set_back, jumps
from mvreg_ros.fusion.transform_tree import (
    HISTORY_NS,
    interpolated,
    JUMP_NS,
    SECOND,
    TransformError,
    TransformTree,
)
import numpy as np
import pytest
from random_motion import random_pose
from scipy.spatial.transform import Rotation, Slerp


def pose(seed: int) -> np.ndarray:
    """Return a random rigid motion (4, 4)."""
    return random_pose(np.random.default_rng(seed)).numpy()


def ahead(x: float, turn: float = 0.0) -> np.ndarray:
    """Return the pose (4, 4) of a robot x metres ahead, turned about z."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('z', turn).as_matrix()
    T[0, 3] = x
    return T


def robot() -> TransformTree:
    """Return odom -> base -> mast -> camera, of which the first moves, and base -> laser."""
    tree = TransformTree('odom')
    tree.add('base', 'mast', 0, pose(1), static=True)
    tree.add('mast', 'camera', 0, pose(2), static=True)
    tree.add('base', 'laser', 0, pose(3), static=True)
    for second in range(5):
        tree.add('odom', 'base', second * SECOND, pose(10 + second), static=False)
    return tree


def test_a_chain_is_the_product_of_its_links_in_either_direction() -> None:
    tree = robot()
    T_odom_camera = tree.lookup('odom', 'camera', 3 * SECOND)
    np.testing.assert_allclose(T_odom_camera, pose(13) @ pose(1) @ pose(2), atol=1e-12)
    np.testing.assert_allclose(
        tree.lookup('camera', 'odom', 3 * SECOND), np.linalg.inv(T_odom_camera), atol=1e-12)
    np.testing.assert_allclose(
        tree.lookup('laser', 'camera', 0), np.linalg.inv(pose(3)) @ pose(1) @ pose(2), atol=1e-12)
    np.testing.assert_array_equal(tree.lookup('camera', 'camera', 0), np.eye(4))


def test_what_moves_is_not_asked_where_it_does_not_matter() -> None:
    """Neither the time nor the gap of odom -> base has to do with two frames on the robot."""
    np.testing.assert_allclose(
        robot().lookup('base', 'camera', 999 * SECOND), pose(1) @ pose(2), atol=1e-12)


@given(st.integers(0, 4 * SECOND))
def test_between_two_stamps_rotations_are_slerped(stamp_ns: int) -> None:
    moving = [pose(10 + second) for second in range(5)]
    slerp = Slerp(range(5), Rotation.from_matrix([T[:3, :3] for T in moving]))
    at = stamp_ns / SECOND
    T = robot().lookup('odom', 'base', stamp_ns)
    np.testing.assert_allclose(T[:3, :3], slerp(at).as_matrix(), atol=1e-7)
    for axis in range(3):
        expected = np.interp(at, range(5), [T[axis, 3] for T in moving])
        assert abs(T[axis, 3] - expected) < 1e-6


def test_half_of_a_quarter_turn() -> None:
    quarter = np.eye(4)
    quarter[:3, :3] = Rotation.from_euler('z', 90, degrees=True).as_matrix()
    quarter[:3, 3] = 4, 0, 0
    half = interpolated(np.eye(4), quarter, 0.5)
    expected = Rotation.from_euler('z', 45, degrees=True).as_matrix()
    np.testing.assert_allclose(half[:3, :3], expected, atol=1e-12)
    np.testing.assert_allclose(half[:3, 3], [2, 0, 0], atol=1e-12)


@given(st.permutations(range(6)))
def test_the_order_in_which_messages_come_does_not_matter(order: list[int]) -> None:
    tree = TransformTree('odom')
    for k in order:
        tree.add('odom', 'base', k * SECOND // 4, ahead(k), static=False)
    for k in range(6):
        np.testing.assert_array_equal(tree.lookup('odom', 'base', k * SECOND // 4), ahead(k))
    assert tree.run('odom', 'base') == 0


def test_a_stamp_that_comes_twice_has_the_later_transform() -> None:
    tree = robot()
    tree.add('odom', 'base', 4 * SECOND, pose(99), static=False)
    np.testing.assert_array_equal(tree.lookup('odom', 'base', 4 * SECOND), pose(99))


@pytest.mark.parametrize(('target', 'source', 'stamp_ns', 'may_come', 'what'), [
    ('odom', 'base', 5 * SECOND, True, 'base to odom at 5.000 s: it is 1.000 s after the last'),
    ('odom', 'base', -SECOND, False, '1.000 s before all'),
    ('odom', 'hand', 0, True, 'no transform links hand to odom'),
    ('map', 'camera', 0, True, 'no transform links camera to map'),
])
def test_what_is_not_known(
    target: str, source: str, stamp_ns: int, may_come: bool, what: str,
) -> None:
    with pytest.raises(TransformError, match=what) as error:
        robot().lookup(target, source, stamp_ns)
    assert error.value.may_come == may_come


def test_only_the_last_seconds_are_remembered() -> None:
    tree = TransformTree('odom')
    for second in range(40):
        tree.add('odom', 'base', second * SECOND, pose(second), static=False)
    oldest = 39 * SECOND - HISTORY_NS
    tree.lookup('odom', 'base', oldest)
    with pytest.raises(TransformError, match='before all'):
        tree.lookup('odom', 'base', oldest - 1)


def test_a_jump_back_in_time_forgets_what_moves_and_keeps_what_is_static() -> None:
    tree = robot()
    tree.add('base', 'arm', 4 * SECOND, pose(5), static=False)
    assert not tree.add('odom', 'base', 4 * SECOND - JUMP_NS, pose(6), static=False)
    assert tree.add('odom', 'base', SECOND, pose(7), static=False)
    np.testing.assert_array_equal(tree.lookup('odom', 'base', SECOND), pose(7))
    with pytest.raises(TransformError, match='links arm'):
        tree.lookup('odom', 'arm', SECOND)
    tree.lookup('odom', 'camera', SECOND)


@pytest.mark.parametrize(('before', 'after', 'seconds', 'anew'), [
    (ahead(3.0), ahead(3.5), 0.1, False),
    (ahead(3.0), ahead(20.0), 1.0, True),
    (ahead(3.0), ahead(17.0), 1.0, False),
    (ahead(3.0), ahead(3.2), 0.001, False),  # a correction, as of a visual odometry
    (ahead(3.0), ahead(3.4), 0.001, True),
    (ahead(3.0), ahead(3.0, 0.4), 0.001, False),
    (ahead(3.0), ahead(3.0, 2.0), 0.02, True),
    (ahead(0.1), ahead(0.0), 0.02, True),  # set back
    (ahead(0.0, 0.1), ahead(0.0), 0.02, True),
    (ahead(0.001), ahead(0.0), 0.02, False),
    (ahead(0.0), ahead(0.0), 0.02, False),
    (ahead(3.0), ahead(0.05), 5.0, True),  # set back while nobody listened, and gone on
    (ahead(3.0), ahead(0.05), 0.9, False),
    (ahead(3.0), ahead(1.0), 5.0, False),
    (ahead(0.2), ahead(0.05), 5.0, False),
    (ahead(0.1, 3.0), ahead(0.001, 0.002), 3.0, True),  # turned in place, then set back
    (ahead(0.1, 0.4), ahead(0.001, 0.002), 3.0, False),
    (ahead(20.0), ahead(0.5), 5.0, True),
    (ahead(15.0), ahead(0.5), 5.0, False),  # may have been driven
    (ahead(2.0, 3.0), ahead(0.003, 0.002), 0.2, False),  # not told from driving
])
def test_what_no_robot_does_begins_anew(
    before: np.ndarray, after: np.ndarray, seconds: float, anew: bool,
) -> None:
    assert (jumps(before, after, seconds) or is_set_back(before, after, seconds)) == anew


def moving(tree: TransformTree, first: int, last: int, x: float = 0.0) -> None:
    """Tell a tree of odometry from one tenth of a second to another, at 1 m/s from x on."""
    for k in range(first, last):
        tree.add('odom', 'base', k * SECOND // 10, ahead(x + (k - first) / 10), static=False)


def test_a_run_ends_where_time_jumps_back_and_another_begins() -> None:
    tree = TransformTree('odom', first_run=4)
    assert tree.run('odom', 'base') == 4
    moving(tree, 0, 50, 1.0)
    assert tree.run('odom', 'base') == 4
    moving(tree, 0, 50, 1.0)
    assert tree.run('odom', 'base') == 5
    tree.clear()  # so says the clock
    assert tree.run('odom', 'base') == 6


def test_a_pose_that_jumps_begins_a_run_and_nothing_is_between_the_two() -> None:
    tree = TransformTree('odom')
    tree.add('base', 'camera', 0, pose(1), static=True)
    moving(tree, 0, 20, 1.0)
    tree.add('odom', 'base', 2 * SECOND, np.eye(4), static=False)
    tree.add('odom', 'base', 19 * SECOND // 10 + 1, ahead(2.9), static=False)  # comes late
    moving(tree, 21, 30)
    assert (tree.run('odom', 'camera'), tree.run('camera', 'odom')) == (1, 1)
    np.testing.assert_allclose(tree.lookup('odom', 'base', 2 * SECOND), np.eye(4))
    for stamp_ns in (2 * SECOND - 1, SECOND):
        with pytest.raises(TransformError, match='before all') as error:
            tree.lookup('odom', 'base', stamp_ns)
        assert not error.value.may_come


@pytest.mark.parametrize('behind_ns', [SECOND + SECOND // 2, SECOND + SECOND // 2 + 1])
def test_odometry_begins_anew_with_stamps_behind_and_nothing_is_between_the_two(
    behind_ns: int,
) -> None:
    tree = TransformTree('odom')
    moving(tree, 0, 100)
    begin_ns = 10 * SECOND - behind_ns
    for k in range(15):
        stamp_ns = begin_ns + k * SECOND // 10
        assert not tree.add('odom', 'base', stamp_ns, ahead(0.01 * k), static=False)
    assert tree.run('odom', 'base') == 1
    np.testing.assert_allclose(
        tree.lookup('odom', 'base', begin_ns + SECOND // 20), ahead(0.005), atol=1e-12)
    with pytest.raises(TransformError, match='before all'):
        tree.lookup('odom', 'base', begin_ns - 1)


def test_what_jumps_elsewhere_in_the_tree_ends_no_run() -> None:
    tree = robot()
    for k in range(20):
        tree.add('map', 'odom', k * SECOND // 10, ahead(5.0 * (k % 2)), static=False)
        tree.add('odom', 'person', k * SECOND // 10, ahead(9.0 * (k % 2)), static=False)
    assert tree.run('odom', 'camera') == 0
    tree.add('odom', 'base', 41 * SECOND // 10, pose(14) @ ahead(9.0), static=False)
    assert tree.run('odom', 'camera') == tree.run('odom', 'laser') > tree.run('odom', 'person')


def test_a_joint_that_goes_home_begins_no_run_and_odometry_that_does_so_begins_one() -> None:
    tree = TransformTree('odom')
    for k, turn in enumerate([0.4, 0.2, 0.0, 0.2]):
        tree.add('odom', 'base', k * SECOND // 10, ahead(1.0), static=False)
        tree.add('base', 'camera', k * SECOND // 10, ahead(0.0, turn), static=False)
    tree.add('base', 'camera', 4 * SECOND, ahead(0.01), static=False)  # silent where it rests
    tree.add('base', 'lift', 0, ahead(1.0), static=False)
    tree.add('base', 'lift', 4 * SECOND, ahead(0.05), static=False)
    assert tree.run('odom', 'camera') == tree.run('odom', 'lift') == 0
    tree.add('base', 'camera', 4 * SECOND + 1, ahead(9.0), static=False)
    assert tree.run('odom', 'camera') == 1
    for x in (1.0, 0.0):
        tree.add('odom', 'base', 4 * SECOND - int(x), ahead(x), static=False)
    assert tree.run('odom', 'base') == 2


@pytest.mark.parametrize('odom_is_parent', [True, False])
def test_odometry_may_be_published_either_way_round(odom_is_parent: bool) -> None:
    tree = TransformTree('odom')
    frames = ('odom', 'base') if odom_is_parent else ('base', 'odom')
    for k, x in enumerate([0.2, 0.3, 0.0]):
        tree.add(*frames, k * SECOND // 10, ahead(x), static=False)
    assert tree.run('odom', 'base') == 1


def test_runs_of_two_cameras_are_the_same_only_where_their_odometry_is() -> None:
    tree = TransformTree('odom')
    seen = []
    for k, (x_base, x_mast) in enumerate([(0, 0), (0, 9), (9, 9), (9, 0), (0, 0)]):
        stamp_ns = k * SECOND // 10
        tree.add('odom', 'base', stamp_ns, ahead(1.0 + x_base), static=False)
        tree.add('base', 'mast', stamp_ns, ahead(1.0 + x_mast), static=False)
        seen.append((tree.run('odom', 'base'), tree.run('odom', 'mast')))
    assert seen == [(0, 0), (0, 1), (2, 2), (2, 3), (4, 4)]


def test_a_frame_may_move_to_another_parent() -> None:
    tree = robot()
    tree.add('other', 'base', 5 * SECOND, pose(4), static=False)
    assert tree.run('other', 'camera') == 1
    tree.add('mast', 'laser', 0, pose(8), static=True)
    np.testing.assert_allclose(tree.lookup('mast', 'laser', 0), pose(8), atol=1e-12)


def test_a_link_of_both_kinds_is_of_one_run_as_long_as_it_is_the_same() -> None:
    tree = TransformTree('odom')
    for k in range(6):
        tree.add('base', 'camera', k * SECOND // 10, pose(1), static=k % 2 == 0)
    assert tree.run('base', 'camera') == 0
    tree.lookup('base', 'camera', SECOND // 2)
    with pytest.raises(TransformError, match='after the last'):
        tree.lookup('base', 'camera', SECOND)
    tree.add('base', 'camera', 0, pose(2), static=True)
    assert tree.run('base', 'camera') == 1


def test_frames_in_a_circle_have_no_root_and_do_no_harm() -> None:
    tree = TransformTree('odom')
    tree.add('a', 'b', 0, pose(1), static=True)
    tree.add('b', 'a', 0, pose(2), static=True)
    with pytest.raises(TransformError, match='no transform links'):
        tree.lookup('odom', 'a', 0)
