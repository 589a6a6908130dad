# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A registration as ROS messages: the poses of its largest component in `map`, the rest in TF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import (
    Point,
    Pose,
    PoseArray,
    PoseStamped,
    Quaternion,
    Transform,
    TransformStamped,
    Vector3,
)
from mvreg_ros.data.graph import graph_json
from mvreg_ros.data.merge import fragment_colors, merged_cloud
from mvreg_ros.node.clouds import cloud_from_points
from mvreg_ros.node.markers import markers
from mvreg_ros.node.ros_compat import quaternion_from_matrix
from mvreg_ros.node.stamps import stamp_from_nanoseconds
from mvreg_ros.parameters import Value
from mvreg_ros.types import Edges, FloatArray, Fragment, Registration
from nav_msgs.msg import Path
import numpy as np
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String

NAMED = 10  # fragments that a summary names


@dataclass(frozen=True)
class Result:
    """A registration with the fragments it places, and the parameters that it was made with."""

    registration: Registration
    fragments: Sequence[Fragment]
    parameters: Mapping[str, Value]


NOTHING = Result(
    Registration(
        poses=np.zeros((0, 4, 4)), placed=np.zeros(0, bool), component=np.zeros(0, np.int64),
        covariances=np.zeros((0, 6, 6)), edges=Edges.of([]), reason=np.zeros(0, object),
        seconds={},
    ),
    (),
    {},
)


def messages(result: Result, header: Header, voxel_size: float) -> dict[str, Any]:
    """Return the message of each latched output by the name of its topic; header: of the map."""
    registration, fragments = result.registration, result.fragments
    return {
        '~/poses': pose_array(registration, header),
        '~/path': path(registration, fragments, header),
        '~/markers': markers(registration, header, voxel_size),
        '~/map': map_cloud(registration, fragments, header, voxel_size),
        '~/graph': String(data=graph_json(fragments, registration)),
    }


def pose_array(registration: Registration, header: Header) -> PoseArray:
    """Return the poses of the fragments in `map`, in the order of ids."""
    return PoseArray(
        header=header,
        poses=[pose_message(registration.poses[id]) for id in registration.members(0)])


def path(registration: Registration, fragments: Sequence[Fragment], header: Header) -> Path:
    """Return the same poses, each with the stamp of its fragment."""
    return Path(header=header, poses=[
        PoseStamped(
            header=Header(
                stamp=stamp_from_nanoseconds(fragments[id].stamp_ns), frame_id=header.frame_id),
            pose=pose_message(registration.poses[id]),
        )
        for id in registration.members(0)
    ])


def map_cloud(
    registration: Registration, fragments: Sequence[Fragment], header: Header, voxel_size: float,
) -> PointCloud2:
    """Return the points of the map, one a voxel, in the colour of their fragment."""
    points, ids = merged_cloud(fragments, registration, voxel_size)
    return cloud_from_points(header, points, fragment_colors(len(fragments))[ids])


def transforms(registration: Registration, header: Header, prefix: str) -> list[TransformStamped]:
    """
    Return map -> fragment for each placed fragment; header: of the map.

    Components after the first hang under map_1, map_2, ...: nothing is known of their pose in map.
    """
    result = []
    for id in np.flatnonzero(registration.placed).tolist():
        component = registration.component[id]
        parent = f'{header.frame_id}_{component}' if component else header.frame_id
        transform = TransformStamped(
            header=Header(stamp=header.stamp, frame_id=parent), child_frame_id=f'{prefix}{id:04d}',
            transform=transform_message(registration.poses[id]))
        result.append(transform)
    return result


def summary(registration: Registration) -> str:
    """Return a registration in one line: what was placed, the edges kept, the seconds."""
    placed, edges = registration.placed, registration.edges
    excluded = registration.reason == 'excluded'
    missing = [
        f"{why} {', '.join([*map(str, ids[:NAMED]), *['...'] * (len(ids) > NAMED)])}"
        for why, ids in (('not', np.flatnonzero(~placed & ~excluded)),
                         ('excluded', np.flatnonzero(excluded))) if len(ids)]
    components = registration.component.max(initial=-1) + 1
    return '; '.join([
        f'{placed.sum()} of {len(placed)} fragments placed'
        + (f" ({'; '.join(missing)})" if missing else ''),
        f"{components} component{'s' if components != 1 else ''}",
        f'{edges.used.sum()} of {len(edges)} edges kept',
        ', '.join(f'{stage} {value:.1f} s' for stage, value in registration.seconds.items()),
    ])


def pose_message(T_map_fragment: FloatArray) -> Pose:
    x, y, z = T_map_fragment[:3, 3].tolist()
    qx, qy, qz, qw = map(float, quaternion_from_matrix(T_map_fragment))
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def transform_message(T: FloatArray) -> Transform:
    pose = pose_message(T)
    position = pose.position
    return Transform(
        translation=Vector3(x=position.x, y=position.y, z=position.z), rotation=pose.orientation)
