# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What goes out: the present result, latched."""

from __future__ import annotations

from typing import Any

from mvreg_ros.node.interface import OUTPUTS
from mvreg_ros.node.outputs import messages, NOTHING, Result, transforms
from mvreg_ros.node.ros_compat import StaticTransformBroadcaster
from rclpy.node import Node
from std_msgs.msg import Header


class ResultPublisher:
    """Latches a result on the outputs and on /tf_static in place of the one before."""

    def __init__(self, node: Node) -> None:
        """Publish on `node`."""
        self._node = node
        self._publishers: dict[str, Any] = {
            topic.name: node.create_publisher(topic.type, topic.name, topic.qos)
            for topic in OUTPUTS}
        self._broadcaster = StaticTransformBroadcaster(node)

    def messages(self, result: Result) -> dict[str, Any]:
        """Return the messages of all outputs, which takes a while; any thread may ask."""
        header = Header(
            stamp=self._node.get_clock().now().to_msg(),
            frame_id=self._node.get_parameter('map_frame').value)
        return messages(result, header, self._node.get_parameter('voxel_size').value)

    def publish(self, result: Result, outputs: dict[str, Any]) -> None:
        """Publish a result with its messages."""
        for name, message in outputs.items():
            self._publishers[name].publish(message)
        # A broadcaster repeats whatever it once sent, so that each result needs one of its own.
        self._node.destroy_publisher(self._broadcaster.pub_tf)
        self._broadcaster = StaticTransformBroadcaster(self._node)
        wanted = self._node.get_parameter('publish_tf').value
        self._broadcaster.sendTransform(transforms(
            (result if wanted else NOTHING).registration, outputs['~/poses'].header,
            self._node.get_parameter('fragment_frame_prefix').value))
