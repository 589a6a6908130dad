# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The other side of the node: calls its services and listens to its topics, as a robot would."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Pose
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.node.ros_compat import quaternion_matrix
from mvreg_ros.types import FloatArray
from nav_msgs.msg import Path
import numpy as np
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future


class Consumer(Node):
    """A node with the last message of each topic it listens to; spins only inside `until`."""

    def __init__(self, registration_node: str = 'mvreg', **options: Any) -> None:
        """Listen to the status of `registration_node`."""
        super().__init__('consumer', **options)
        self.received: dict[str, Any] = {}
        self.status: dict[str, str] = {}
        self._node = registration_node
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self)
        self.create_subscription(
            DiagnosticArray, f'{registration_node}/status', self._on_status, 10)

    def listen(self, type: Any, topic: str, qos: QoSProfile) -> None:
        """Keep the last message of `topic` in `received`; a leading ~ is the registration node."""
        self.create_subscription(
            type, topic.replace('~', self._node), partial(self.received.__setitem__, topic), qos)

    def call(self, type: Any, service: str, request: Any = None) -> Future:
        """Call a service of the registration node, such as ~/register; the answer comes later."""
        client: Client = self.create_client(type, service.replace('~', self._node))
        self.until(client.service_is_ready, f'service {service}', 20)
        return client.call_async(request or type.Request())

    def until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Spin until `condition`; raise TimeoutError that names `what` after `seconds`."""
        end = monotonic() + seconds
        while not condition():
            if monotonic() > end:
                raise TimeoutError(f'{what} did not come within {seconds:g} seconds')
            self._executor.spin_once(timeout_sec=0.1)

    def _on_status(self, message: DiagnosticArray) -> None:
        self.status = {pair.key: pair.value for pair in message.status[0].values}


def poses_by_stamp(path: Path) -> dict[int, FloatArray]:
    """Return the (4, 4) poses of `path` by their stamps, nanoseconds."""
    return {nanoseconds_from_stamp(pose.header.stamp): matrix(pose.pose) for pose in path.poses}


def matrix(pose: Pose) -> FloatArray:
    """Return `pose` as a (4, 4) transform."""
    q, p = pose.orientation, pose.position
    T = quaternion_matrix([q.x, q.y, q.z, q.w])
    T[:3, 3] = p.x, p.y, p.z
    return np.asarray(T)
