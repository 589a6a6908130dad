# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot with a depth camera for tests: frames as clouds, and its odometry on TF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geometry_msgs.msg import TransformStamped
from mvreg_ros.node.clouds import cloud_from_points
from mvreg_ros.node.consumer import Consumer
from mvreg_ros.node.interface import DEPTH_INPUT, LATCHED, TF, TF_STATIC
from mvreg_ros.node.outputs import transform_message
from mvreg_ros.node.stamps import stamp_from_nanoseconds
import numpy as np
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

PERIOD_NS = 100_000_000
# The camera looks ahead: its z axis is the robot's x axis, its x axis points to the right.
T_BASE_CAMERA = np.eye(4)
T_BASE_CAMERA[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
T_BASE_CAMERA[:3, 3] = 0.1, 0.0, 0.3


@dataclass(frozen=True)
class View:
    """What the camera sees, (N, 3) in its own frame, and where it is."""

    points: np.ndarray
    T_odom_camera: np.ndarray
    stamp_ns: int


class Robot:
    """Publishes odom -> base on /tf, base -> camera on /tf_static, and clouds on `frames`."""

    def __init__(self, consumer: Consumer) -> None:
        """Publish with the node of a consumer, and wait until the registration node listens."""
        self._frames = consumer.create_publisher(PointCloud2, DEPTH_INPUT.name, 100)
        self._tf = consumer.create_publisher(TFMessage, TF.name, TF.qos)
        self._tf_static = consumer.create_publisher(TFMessage, TF_STATIC.name, LATCHED)
        publishers = (self._frames, self._tf, self._tf_static)
        consumer.until(
            lambda: all(each.get_subscription_count() > 0 for each in publishers),
            'subscriptions to frames and TF', 20)
        self._tf_static.publish(message('base', 'camera', 0, T_BASE_CAMERA))

    def move(self, stamp_ns: int, T_odom_camera: np.ndarray) -> None:
        """Say where the camera is by odometry."""
        T_odom_base = T_odom_camera @ np.linalg.inv(T_BASE_CAMERA)
        self.publish_tf(message('odom', 'base', stamp_ns, T_odom_base))

    def publish_tf(self, message: TFMessage) -> None:
        """Publish transforms that change."""
        self._tf.publish(message)

    def show(self, view: View) -> None:
        """Publish a frame."""
        header = Header(stamp=stamp_from_nanoseconds(view.stamp_ns), frame_id='camera')
        self._frames.publish(cloud_from_points(header, view.points.astype(np.float32)))


def message(parent: str, child: str, stamp_ns: int, T: np.ndarray) -> TFMessage:
    """Return a message of one transform."""
    return TFMessage(transforms=[TransformStamped(
        header=Header(stamp=stamp_from_nanoseconds(stamp_ns), frame_id=parent),
        child_frame_id=child, transform=transform_message(T))])


def hills() -> np.ndarray:
    """Return points (N, 3) of a hilly field, z up."""
    rng = np.random.default_rng(0)
    ground = rng.uniform((-3, -4), (13, 4), (120000, 2))
    height = np.zeros(len(ground))
    for _ in range(300):
        distance = np.linalg.norm(ground - rng.uniform((-3, -4), (13, 4)), axis=1)
        height += rng.uniform(-0.5, 0.5) * np.exp(-(distance / rng.uniform(0.2, 0.6)) ** 2)
    return np.column_stack([ground, height])


def flight(count: int, first_stamp_ns: int = 10**9) -> Sequence[View]:
    """Return what a camera sees that flies over hills, looking down, 0.25 m from view to view."""
    field = hills()
    views = []
    for k in range(count):
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler('zx', [5.0 * k, 180], degrees=True).as_matrix()
        T[:3, 3] = 0.25 * k, 0.4 * np.sin(0.3 * k), 3.0
        near = field[np.linalg.norm(field[:, :2] - T[:2, 3], axis=1) < 2.2]
        views.append(View((near - T[:3, 3]) @ T[:3, :3], T, first_stamp_ns + k * PERIOD_NS))
    return views
