# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated session as a rosbag2, as a robot would have recorded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mvreg_ros.data.stamps import SECOND
from mvreg_ros.simulate.session import drifting, FRAGMENT_SECONDS, SimulatedSession
from mvreg_ros.types import FloatArray
import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from scipy.spatial.transform import Rotation

STORE = get_typestore(Stores.ROS2_HUMBLE)
FLOAT32 = 7  # of sensor_msgs/PointField
UNSET = QosTime(0, 0)


def write_bag(
    session: SimulatedSession, T_world_camera: FloatArray, folder: Path, seed: int
) -> None:
    """
    Write `session` as a rosbag2 with mcap storage to `folder`, a new one.

    T_world_camera: (S, M, 4, 4) of the images of each fragment. seed: of the errors of odometry.

    /fragments (sensor_msgs/PointCloud2), each when its last image was taken, with the stamp of its
    first. /tf (tf2_msgs/TFMessage) has odom -> camera for each image, by odometry that drifts as a
    random walk. /ground_truth (nav_msgs/Path), latched, has T_world_fragment by id.
    """
    with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        def topic(name: str, type: str, durability: QosDurability) -> Any:
            qos = Qos(
                QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, durability, UNSET, UNSET,
                QosLiveliness.AUTOMATIC, UNSET, False)
            return writer.add_connection(name, type, typestore=STORE, offered_qos_profiles=[qos])

        def write(connection: Any, time_ns: int, message: Any) -> None:
            writer.write(
                connection, time_ns, STORE.serialize_cdr(message, connection.msgtype))

        truth = topic('/ground_truth', 'nav_msgs/msg/Path', QosDurability.TRANSIENT_LOCAL)
        tf = topic('/tf', 'tf2_msgs/msg/TFMessage', QosDurability.VOLATILE)
        fragments = topic('/fragments', 'sensor_msgs/msg/PointCloud2', QosDurability.VOLATILE)
        write(truth, session.fragments[0].stamp_ns, _path(session))
        odometry = drifting(
            np.random.default_rng(seed),
            np.linalg.inv(T_world_camera[0, 0]) @ T_world_camera.reshape(-1, 4, 4),
        ).reshape(T_world_camera.shape)
        lasting = int(FRAGMENT_SECONDS * SECOND)
        for fragment, images in zip(session.fragments, odometry, strict=True):
            for index, T_odom_camera in enumerate(images):
                stamp_ns = fragment.stamp_ns + index * lasting // len(images)
                write(tf, stamp_ns, _transform(stamp_ns, fragment.frame_id, T_odom_camera))
            header = _header(fragment.stamp_ns, fragment.frame_id)
            write(fragments, fragment.stamp_ns + lasting - 1, _cloud(header, fragment.points))


def _header(stamp_ns: int, frame_id: str) -> Any:
    sec, nanosec = divmod(stamp_ns, SECOND)
    time = STORE.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
    return STORE.types['std_msgs/msg/Header'](stamp=time, frame_id=frame_id)


def _cloud(header: Any, points: np.ndarray) -> Any:
    field = STORE.types['sensor_msgs/msg/PointField']
    return STORE.types['sensor_msgs/msg/PointCloud2'](
        header=header, height=1, width=len(points),
        fields=[field(name=name, offset=4 * column, datatype=FLOAT32, count=1)
                for column, name in enumerate('xyz')],
        is_bigendian=False, point_step=12, row_step=12 * len(points),
        data=np.ascontiguousarray(points, '<f4').view(np.uint8).reshape(-1), is_dense=True)


def _path(session: SimulatedSession) -> Any:
    stamped = STORE.types['geometry_msgs/msg/PoseStamped']
    pose = STORE.types['geometry_msgs/msg/Pose']
    poses = [
        stamped(header=_header(fragment.stamp_ns, 'world'),
                pose=pose(position=_vector('Point', T), orientation=_quaternion(T)))
        for fragment, T in zip(session.fragments, session.T_world_fragment, strict=True)
    ]
    return STORE.types['nav_msgs/msg/Path'](header=_header(0, 'world'), poses=poses)


def _transform(stamp_ns: int, child: str, T_odom_camera: FloatArray) -> Any:
    transform = STORE.types['geometry_msgs/msg/TransformStamped'](
        header=_header(stamp_ns, 'odom'), child_frame_id=child,
        transform=STORE.types['geometry_msgs/msg/Transform'](
            translation=_vector('Vector3', T_odom_camera), rotation=_quaternion(T_odom_camera)))
    return STORE.types['tf2_msgs/msg/TFMessage'](transforms=[transform])


def _vector(type: str, T: FloatArray) -> Any:
    x, y, z = T[:3, 3].tolist()
    return STORE.types[f'geometry_msgs/msg/{type}'](x=x, y=y, z=z)


def _quaternion(T: FloatArray) -> Any:
    x, y, z, w = Rotation.from_matrix(T[:3, :3]).as_quat().tolist()
    return STORE.types['geometry_msgs/msg/Quaternion'](x=x, y=y, z=z, w=w)
