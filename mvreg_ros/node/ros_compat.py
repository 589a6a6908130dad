# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The few functions of tf2_ros, tf_transformations and sensor_msgs_py that the node uses.

ROS's own are taken where they are installed. PyPI has none of the three, so the classes and
functions called `Own...` and `own_...` give the same answers there.
"""

from __future__ import annotations

import array
from collections.abc import Sequence

from geometry_msgs.msg import TransformStamped
import numpy as np
from numpy.typing import ArrayLike, NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from transforms3d.quaternions import mat2quat, quat2mat


class OwnStaticTransformBroadcaster:
    """Publish static transforms, latched; a child frame sent again replaces what was sent."""

    def __init__(self, node: Node) -> None:
        """Make the latched publisher of /tf_static on `node`."""
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pub_tf = node.create_publisher(TFMessage, '/tf_static', qos)
        self._by_child: dict[str, TransformStamped] = {}

    def sendTransform(
        self, transform: TransformStamped | Sequence[TransformStamped],
    ) -> None:
        """Publish `transform`, one or several, with all that were sent before."""
        transforms = [transform] if isinstance(transform, TransformStamped) else transform
        self._by_child.update({each.child_frame_id: each for each in transforms})
        self.pub_tf.publish(TFMessage(transforms=list(self._by_child.values())))


def own_quaternion_from_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return the unit quaternion x, y, z, w of a (4, 4) transform."""
    return np.roll(mat2quat(np.asarray(matrix)[:3, :3]), -1)


def own_quaternion_matrix(quaternion: ArrayLike) -> NDArray[np.float64]:
    """Return the (4, 4) transform of a quaternion x, y, z, w of any length."""
    matrix = np.eye(4)
    matrix[:3, :3] = quat2mat(np.roll(quaternion, 1))
    return matrix


def own_create_cloud(
    header: Header, fields: Sequence[PointField], points: NDArray[np.float32],
) -> PointCloud2:
    """Return a cloud of contiguous `points`, (N, len(fields)), whose fields are all float32."""
    step = points.itemsize * len(fields)
    data = array.array('B')
    data.frombytes(points.data.cast('B'))
    cloud = PointCloud2(
        header=header, height=1, width=len(points), fields=fields, is_bigendian=False,
        point_step=step, row_step=step * len(points), is_dense=False,
    )
    cloud.data = data  # many times as fast as the same in the constructor
    return cloud


try:
    from tf2_ros import StaticTransformBroadcaster
except ImportError:
    StaticTransformBroadcaster = OwnStaticTransformBroadcaster

try:
    from tf_transformations import quaternion_from_matrix, quaternion_matrix
except ImportError:
    quaternion_from_matrix, quaternion_matrix = own_quaternion_from_matrix, own_quaternion_matrix

try:
    from sensor_msgs_py.point_cloud2 import create_cloud
except ImportError:
    create_cloud = own_create_cloud

__all__ = [
    'StaticTransformBroadcaster', 'create_cloud', 'quaternion_from_matrix', 'quaternion_matrix',
]
