# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where odometry is in the map, on /tf as REP-105 has it."""

from __future__ import annotations

from geometry_msgs.msg import TransformStamped
from mvreg_ros.multiview.odometry import map_from_odom
from mvreg_ros.node.interface import TF
from mvreg_ros.node.outputs import Result, transform_message
from mvreg_ros.types import FloatArray
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

PERIOD = 0.05  # seconds of the node's clock


class MapToOdom:
    """
    Publishes map -> odom steadily once a fragment with odometry is placed in the map.

    map -> odom -> base then is the registered pose of the last such fragment. Odometry may not
    jump, but the map may, and so does this transform at each registration.
    """

    def __init__(self, node: Node, odom_frame: str) -> None:
        """Publish on `node`, by its clock, the frame that odometry is given in."""
        self._node = node
        self._odom_frame = odom_frame
        self._T_map_odom: FloatArray | None = None
        self._publisher = node.create_publisher(TFMessage, TF.name, TF.qos)
        node.create_timer(PERIOD, self._publish)

    def update(self, result: Result) -> None:
        """Publish what follows from this result from now on, or nothing."""
        self._T_map_odom = map_from_odom(result.registration, result.fragments, 0)

    def _publish(self) -> None:
        now = self._node.get_clock().now()
        # Zero is a simulated clock that has not begun.
        if self._T_map_odom is None or now.nanoseconds == 0:
            return
        if not self._node.get_parameter('publish_tf').value:
            return
        header = Header(
            stamp=now.to_msg(), frame_id=self._node.get_parameter('map_frame').value)
        self._publisher.publish(TFMessage(transforms=[
            TransformStamped(
                header=header, child_frame_id=self._odom_frame,
                transform=transform_message(self._T_map_odom))]))
