# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds of a depth camera, as large as they are and best effort, with our profile of Fast DDS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import subprocess
import sys

from mvreg_ros.node.consumer import Consumer
from mvreg_ros.session.session import last_session
from mvreg_ros.session.stored import read_session
from node_session import directory, domain, participant, PATIENCE, SETTINGS
from rclpy.utilities import get_rmw_implementation_identifier

ROOT = Path(__file__).parents[1]
BEST_EFFORT = 'qos_overrides./fragments.subscription.reliability:=best_effort'
# 640 x 480 points of 16 bytes, stamped 1, 2, ... s, for as long as it is let.
CAMERA = """
import numpy as np, rclpy
from mvreg_ros.node.clouds import cloud_from_points
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(PointCloud2, 'fragments', qos_profile_sensor_data)
points = np.random.default_rng(0).uniform(-1, 1, (640 * 480, 3)).astype(np.float32)
cloud = cloud_from_points(Header(frame_id='camera'), points, np.zeros((640 * 480, 3), np.uint8))
assert len(cloud.data) == 640 * 480 * 16
def publish():
    cloud.header.stamp.sec += 1
    publisher.publish(cloud)
node.create_timer(0.5, publish)
rclpy.spin(node)
"""


@contextmanager
def running(*command: str) -> Iterator[None]:
    """Run Python in a process of its own, with the profile and in the domain of this test run."""
    process = subprocess.Popen([sys.executable, *command], env={
        **os.environ, 'ROS_DOMAIN_ID': str(domain()),
        'FASTDDS_DEFAULT_PROFILES_FILE': str(ROOT / 'config/fastdds_large_clouds.xml'),
        'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def five_in_a_row(sessions: Path) -> bool:
    """Return whether a node has five clouds of which none between was lost."""
    folder = last_session(sessions)
    if folder is None:
        return False
    seconds = [each.stamp_ns // 10**9 for each in read_session(folder).fragments]
    return any(b - a == 4 for a, b in zip(seconds, seconds[4:], strict=False))


def test_large_clouds_of_a_best_effort_publisher_arrive(tmp_path: Path) -> None:
    assert get_rmw_implementation_identifier() == 'rmw_fastrtps_cpp', 'the profile is of Fast DDS'
    node = '-m', 'mvreg_ros.node.registration_node', '--ros-args', *SETTINGS
    with (
        participant() as context,
        running(*node, '-p', directory(tmp_path), '-p', BEST_EFFORT), running('-c', CAMERA),
    ):
        consumer = Consumer(context=context)
        consumer.until(lambda: five_in_a_row(tmp_path), 'five clouds', PATIENCE)
