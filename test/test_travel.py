# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The way of a robot by what its sensors say: one sensor, several, and none that knows."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.multiview.odometry import OdometryConfig, Track
from mvreg_ros.multiview.travel import travelled
from mvreg_ros.types import Fragment
import numpy as np
from scipy.spatial.transform import Rotation

NOTHING = np.zeros((0, 3), np.float32)


def walk(seconds: list[float]) -> np.ndarray:
    """Return poses (M, 4, 4) of a robot that drives 0.5 m/s ahead, then turns on the spot."""
    poses = np.tile(np.eye(4), (len(seconds), 1, 1))
    poses[:, 0, 3] = 0.5 * np.minimum(seconds, 4.0)
    turn = 0.2 * np.maximum(np.array(seconds) - 4.0, 0.0)
    poses[:, :3, :3] = Rotation.from_euler('z', turn[:, None]).as_matrix()
    return poses


def way(seconds: list[float], sensors: str, mounts: dict[str, np.ndarray]) -> np.ndarray:
    """Return what `travelled` says of sensors, a letter each, that sit at `mounts`."""
    poses = walk(seconds) @ np.stack([mounts[name] for name in sensors])
    return travelled((np.array(seconds) * 1e9).astype(np.int64), list(sensors), poses)


# On the axis of the robot, so that they do not move when it turns; they look left and right.
MOUNTS = {name: np.eye(4) for name in 'LR'}
MOUNTS['L'][:3, :3] = Rotation.from_euler('z', 90, degrees=True).as_matrix()
MOUNTS['R'][:3, :3] = Rotation.from_euler('zx', [-90, 40], degrees=True).as_matrix()
MOUNTS['R'][:3, 3] = 0, 0, 1.2


def expected(seconds: list[float]) -> np.ndarray:
    """Return the way of the robot itself, from the first pose on."""
    s = np.array(seconds)
    total = np.stack([0.5 * np.minimum(s, 4.0), 0.2 * np.maximum(s - 4.0, 0.0)], -1)
    return total - total[0]


def test_one_sensor_tells_its_steps() -> None:
    seconds = [0.0, 1.0, 3.0, 4.0, 5.0, 9.0]
    np.testing.assert_allclose(way(seconds, 'LLLLLL', MOUNTS), expected(seconds), atol=1e-6)


def test_two_sensors_that_take_turns_tell_the_way_of_the_robot() -> None:
    seconds = [0.0, 0.5, 1.0, 1.5, 3.0, 3.5, 4.0, 4.0, 6.0, 7.0, 8.0, 9.0]
    np.testing.assert_allclose(way(seconds, 'LRLRLRLRLRLR', MOUNTS), expected(seconds), atol=1e-6)


def test_two_sensors_at_the_same_stamps_see_no_motion_between_them() -> None:
    seconds = [0.0, 0.0, 2.0, 2.0, 4.0, 4.0]
    np.testing.assert_allclose(way(seconds, 'LRLRRL', MOUNTS), expected(seconds), atol=1e-6)


def test_of_what_sensors_tell_the_most_counts() -> None:
    """One far from the axis goes a way when the robot turns."""
    far = MOUNTS['L'].copy()
    far[:3, 3] = 2.0, 0.0, 0.0
    found = way([4.0, 4.0, 5.0, 5.0], 'LRLR', {**MOUNTS, 'L': far})
    np.testing.assert_allclose(found[-1], [4 * np.sin(0.1), 0.2], atol=1e-6)


def test_where_no_sensor_knows_the_way_between_sensors_counts() -> None:
    found = way([0.0, 1.0, 2.0, 3.0], 'LLRR', MOUNTS)
    between = np.array([np.hypot(0.5, 1.2), np.linalg.norm(Rotation.from_matrix(
        MOUNTS['L'][:3, :3].T @ MOUNTS['R'][:3, :3]).as_rotvec())])
    expected_steps = np.stack([[0.5, 0.0], between, [0.5, 0.0]])
    np.testing.assert_allclose(np.diff(found, axis=0), expected_steps, atol=1e-6)


def test_without_a_clock_what_comes_first_is_first() -> None:
    poses = walk([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])
    found = travelled(np.zeros(6, np.int64), list('LRLRLR'), poses)
    assert (np.diff(found[:, 0]) >= 0).all()
    np.testing.assert_allclose(found[4, 0], 1.0, atol=1e-6)


def test_a_single_pose_has_come_nowhere() -> None:
    np.testing.assert_array_equal(travelled(np.zeros(1, np.int64), ['L'], np.eye(4)[None]), 0)


def test_two_cameras_on_a_rig_are_believed_as_far_as_one_is() -> None:
    seconds = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    poses = walk(seconds) @ np.stack([MOUNTS[name] for name in 'LRLRLR'])
    rig = [Fragment(NOTHING, k, stamp_ns=int(1e9 * s), frame_id=name, T_odom_fragment=T)
           for k, (s, name, T) in enumerate(zip(seconds, 'LRLRLR', poses, strict=True))]
    config = OdometryConfig()
    track = Track(rig, config)
    _, sigma = track.between(np.array([0, 0, 1]), np.array([1, 4, 4]))
    length = 1.0
    moved = [config.distance + config.distance_per_metre * length,
             config.angle + config.angle_per_metre * length]
    np.testing.assert_allclose(
        sigma, np.array([[config.distance, config.angle], moved, moved]), atol=1e-6)
    T_i_j, _ = track.between(np.array([0]), np.array([1]))
    np.testing.assert_allclose(T_i_j[0], np.linalg.inv(MOUNTS['L']) @ MOUNTS['R'], atol=1e-9)
    alone = Track([replace(f, id=k) for k, f in enumerate(rig[::2])], config)
    np.testing.assert_allclose(alone.between(np.array([0]), np.array([2]))[1], [moved], atol=1e-6)
