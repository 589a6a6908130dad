# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tf2_msgs that `make setup` builds is on the wire what every other ROS 2 machine has."""

from __future__ import annotations

from geometry_msgs.msg import TransformStamped
from mvreg_ros.node.interface import LATCHED
from node_session import participant, PATIENCE
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.task import Future
from tf2_msgs.msg import TFMessage

# As a Jazzy installation shows it: ros2 topic info --verbose /tf
TYPE_HASH = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'


def message() -> TFMessage:
    """Return two transforms."""
    transforms = [TransformStamped(), TransformStamped()]
    for k, transform in enumerate(transforms):
        transform.header.frame_id = 'map'
        transform.child_frame_id = f'fragment_{k:04d}'
        transform.transform.translation.x = 0.5 + k
    return TFMessage(transforms=transforms)


def test_the_message_crosses_dds_with_the_official_type_hash() -> None:
    with participant() as here, participant() as there:
        sender, receiver = Node('sender', context=here), Node('receiver', context=there)
        publisher = sender.create_publisher(TFMessage, 'transforms', LATCHED)
        publisher.publish(message())
        received = Future()
        receiver.create_subscription(TFMessage, 'transforms', received.set_result, LATCHED)
        executor = SingleThreadedExecutor(context=there)
        executor.add_node(receiver)
        executor.spin_until_future_complete(received, PATIENCE)
        assert received.result() == message()
        info, = receiver.get_publishers_info_by_topic('transforms')
        assert str(info.topic_type_hash) == TYPE_HASH


def test_the_message_survives_serialisation() -> None:
    assert deserialize_message(serialize_message(message()), TFMessage) == message()
