# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tree of frames: chains, interpolation, and what it does when time jumps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
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


def robot() -> TransformTree:
    """Return odom -> base -> mast -> camera, of which the first moves, and base -> laser."""
    tree = TransformTree()
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
    tree = TransformTree()
    for k in order:
        tree.add('odom', 'base', k * SECOND // 4, pose(k), static=False)
    for k in range(6):
        np.testing.assert_array_equal(tree.lookup('odom', 'base', k * SECOND // 4), pose(k))


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
    tree = TransformTree()
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


def test_a_frame_may_move_to_another_parent() -> None:
    tree = robot()
    tree.add('mast', 'laser', 0, pose(8), static=True)
    np.testing.assert_allclose(tree.lookup('mast', 'laser', 0), pose(8), atol=1e-12)


def test_frames_in_a_circle_have_no_root_and_do_no_harm() -> None:
    tree = TransformTree()
    tree.add('a', 'b', 0, pose(1), static=True)
    tree.add('b', 'a', 0, pose(2), static=True)
    with pytest.raises(TransformError, match='no transform links'):
        tree.lookup('odom', 'a', 0)
