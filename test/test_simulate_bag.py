# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated session as a rosbag2: what was written is read, by us and by the messages of ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geometry_msgs.msg import Transform
from mvreg_ros.cli import main
from mvreg_ros.data.bags import read_bag
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.node.consumer import matrix, poses_by_stamp
from mvreg_ros.simulate.bag_files import write_bag
from mvreg_ros.simulate.session import SimulatedSession
from mvreg_ros.types import Fragment
import nav_msgs.msg
import numpy as np
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

SECOND = 10**9
COUNT, IMAGES = 3, 4


def walk() -> np.ndarray:
    """Return T_world_camera, (COUNT, IMAGES, 4, 4), far from the origin of the world."""
    poses = np.tile(np.eye(4), (COUNT * IMAGES, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(
        np.linspace([0, 0, 1], [0, 2, 0], COUNT * IMAGES)).as_matrix()
    poses[:, :3, 3] = np.linspace([5, 0, 1], [9, 3, 1], COUNT * IMAGES)
    return poses.reshape(COUNT, IMAGES, 4, 4)


def received(bag: Path, topic: str, type: Any) -> list[tuple[int, Any]]:
    """Return the messages of a topic with the times they were recorded at."""
    with Reader(bag) as reader:
        return [
            (time_ns, deserialize_message(data, type))
            for connection, time_ns, data in reader.messages() if connection.topic == topic]


def matrix_of(transform: Transform) -> np.ndarray:
    """Return a transform as a (4, 4) matrix."""
    q, t = transform.rotation, transform.translation
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    T[:3, 3] = t.x, t.y, t.z
    return T


def test_what_is_written_is_read(tmp_path: Path) -> None:
    poses = walk()
    points = np.random.default_rng(0).normal(size=(COUNT, 50, 3)).astype(np.float32)
    session = SimulatedSession(
        tuple(Fragment(points[k], k, 1_000_000_001 * (2 * k + 1), 'camera') for k in range(COUNT)),
        poses[:, 0], poses[..., :3, 3].reshape(-1, 3))
    bag = tmp_path / 'bag'
    write_bag(session, poses, bag, seed=0)

    fragments, refused = read_bag(bag, '', lambda fragment: fragment, 0.1)
    assert not refused
    for read, written in zip(fragments, session.fragments, strict=True):
        assert (read.stamp_ns, read.frame_id) == (written.stamp_ns, written.frame_id)
        np.testing.assert_array_equal(read.points, written.points)

    (_, truth), = received(bag, '/ground_truth', nav_msgs.msg.Path)
    np.testing.assert_allclose(list(poses_by_stamp(truth).values()), poses[:, 0], atol=1e-12)
    np.testing.assert_allclose(matrix(truth.poses[1].pose), poses[1, 0], atol=1e-12)

    odometry = [(time_ns, message.transforms[0])
                for time_ns, message in received(bag, '/tf', TFMessage)]
    assert len(odometry) == COUNT * IMAGES
    start = np.linalg.inv(poses[0, 0])
    for (time_ns, each), T_world_camera in zip(odometry, poses.reshape(-1, 4, 4), strict=True):
        assert time_ns == nanoseconds_from_stamp(each.header.stamp)
        assert each.header.frame_id == 'odom'
        np.testing.assert_allclose(
            matrix_of(each.transform), start @ T_world_camera, atol=0.05)  # it drifts
    stamps = [nanoseconds_from_stamp(each.header.stamp) for _, each in odometry]
    assert stamps[::IMAGES] == [fragment.stamp_ns for fragment in session.fragments]
    assert [each.child_frame_id for _, each in odometry[::IMAGES]] == [
        fragment.frame_id for fragment in session.fragments]


def test_the_command_writes_a_bag_in_place_of_a_scene(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    words = ['--bag', '--seed', '3', '--rooms', '1', '--fragments', '1']
    assert main(['simulate', '--out', str(out), *words]) == 0
    assert {path.name for path in out.iterdir()} == {'simulated_3', 'simulated_3.png'}
    (_, message), = received(out / 'simulated_3', '/ground_truth', nav_msgs.msg.Path)
    assert len(message.poses) == 1
