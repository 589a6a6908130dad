# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where odometry is in the map, on /tf as REP-105 has it."""

from __future__ import annotations

from collections.abc import Callable

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
    Publishes map -> odom steadily once a fragment of this run of odometry is placed.

    map -> odom -> base then is the registered pose of the last such fragment. Odometry may not
    jump, but the map may, and so does this transform at each registration. Where odometry begins
    anew all the same, nothing is published until a fragment since then is placed.
    """

    def __init__(self, node: Node, odom_frame: str, run_of: Callable[[str], int]) -> None:
        """
        Publish on `node`, by its clock, the frame that odometry is given in.

        run_of: returns the run of odometry that a frame is in now.
        """
        self._node = node
        self._odom_frame = odom_frame
        self._run_of = run_of
        self._frames: set[str] = set()
        self._run = 0
        self._T_map_odom: FloatArray | None = None
        self._publisher = node.create_publisher(TFMessage, TF.name, TF.qos)
        node.create_timer(PERIOD, self._publish)

    def update(self, result: Result) -> None:
        """Publish what follows from this result from now on, or nothing."""
        placed = [result.fragments[id] for id in result.registration.members(0)]
        self._frames = {f.frame_id for f in placed if f.T_odom_fragment is not None}
        self._run = self._run_now()
        self._T_map_odom = map_from_odom(result.registration, result.fragments, self._run)
        if self._frames and self._T_map_odom is None:
            self._say_that_it_ends()

    def _run_now(self) -> int:
        return max(map(self._run_of, self._frames), default=0)

    def _say_that_it_ends(self) -> None:
        self._node.get_logger().warning(
            f'{self._odom_frame} has begun anew and no fragment since then is in the map: nobody '
            'is told where it is until ~/register has placed one')

    def _publish(self) -> None:
        now = self._node.get_clock().now()
        # Zero is a simulated clock that has not begun.
        if self._T_map_odom is None or now.nanoseconds == 0:
            return
        if self._run_now() != self._run:
            self._T_map_odom = None
            self._say_that_it_ends()
            return
        if not self._node.get_parameter('publish_tf').value:
            return
        header = Header(
            stamp=now.to_msg(), frame_id=self._node.get_parameter('map_frame').value)
        self._publisher.publish(TFMessage(transforms=[
            TransformStamped(
                header=header, child_frame_id=self._odom_frame,
                transform=transform_message(self._T_map_odom))]))
