# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What odometry is for: poses of fragments, fragments from frames, and map -> odom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial

from mvreg_ros.data.point_cloud2 import points_from_cloud
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.fusion.fragment_builder import FragmentBuilder, FusionConfig
from mvreg_ros.fusion.transform_tree import TransformError
from mvreg_ros.node.interface import DEPTH_INPUT
from mvreg_ros.node.map_to_odom import MapToOdom
from mvreg_ros.node.parameters import parameter_values
from mvreg_ros.node.transforms import TransformListener
from mvreg_ros.refusal import Refusal
from mvreg_ros.types import FloatArray, Fragment, InputError
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import PointCloud2

Check = Callable[[int, str], None]


class Odometry:
    """
    Gives fragments their pose by odometry, and fuses `frames` to fragments by it.

    A fragment whose transform never comes is taken without; a frame is refused then.
    """

    def __init__(
        self, node: Node, held: Sequence[Fragment], check: Check,
        take: Callable[[Fragment], None], take_fused: Callable[[Fragment], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        """
        Listen to TF and `frames` on `node`.

        held: the session so far, of which odometry knows nothing: the robot may have been switched
        off since. check: raises Refusal if a cloud of this stamp and frame is not wanted. take,
        take_fused, refuse: are handed fragments that were published, those fused from frames, and
        why a frame is left out. Raises InputError if prior.frame is map_frame, or maximum_range is
        too many voxels.
        """
        self._node, self._check, self._refuse = node, check, refuse
        self._take, self._take_fused = take, take_fused
        frame: str = node.get_parameter('prior.frame').value.removeprefix('/')
        if frame == node.get_parameter('map_frame').value.removeprefix('/'):
            raise InputError(
                f'prior.frame and map_frame are both {frame!r}: name in prior.frame the frame '
                'that odometry is given in, such as odom')
        last_run = max((fragment.odometry_run for fragment in held), default=-1)
        self._transforms = TransformListener(node, frame, last_run + 1)
        self.map_to_odom = MapToOdom(node, frame, self._transforms.run)
        self._config = FusionConfig.of(parameter_values(node))
        self._builders: dict[str, FragmentBuilder] = {}
        self.subscription = node.create_subscription(
            DEPTH_INPUT.type, DEPTH_INPUT.name, self._on_frame,
            copy(DEPTH_INPUT.qos),  # overrides are written into it
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def locate(self, fragment: Fragment) -> None:
        """Take the fragment with its pose in the odometry frame, or without if there is none."""
        def take(T_odom_fragment: FloatArray, run: int) -> None:
            self._take(
                replace(fragment, T_odom_fragment=T_odom_fragment, odometry_run=run))

        def give_up(error: TransformError) -> None:
            self._node.get_logger().warning(
                f'fragment taken without odometry: {error}', throttle_duration_sec=5.0)
            self._take(fragment)

        self._transforms.request(fragment.frame_id, fragment.stamp_ns, take, give_up)

    def close_fragments(self, keep: Callable[[Fragment], None]) -> None:
        """
        Keep what has been fused so far as fragments.

        What `keep` raises a Refusal for goes on being fused: no frame is lost by it.
        """
        for builder in list(self._builders.values()):
            fragment = builder.fused()
            try:
                if fragment is not None:
                    keep(fragment)
            except Refusal as refusal:
                self._node.get_logger().warning(f'frames stay in no fragment: {refusal}')
            else:
                builder.clear()

    def reset(self) -> None:
        """Forget the frames that are not yet in a fragment, and the clouds that wait."""
        self._builders.clear()
        self._transforms.forget_requests()

    def _on_frame(self, cloud: PointCloud2) -> None:
        frame_id = cloud.header.frame_id
        try:
            stamp_ns = nanoseconds_from_stamp(cloud.header.stamp)
            self._check(stamp_ns, frame_id)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._transforms.request(
            frame_id, stamp_ns, partial(self._fuse, cloud, stamp_ns), self._give_up)

    def _fuse(
        self, cloud: PointCloud2, stamp_ns: int, T_odom_camera: FloatArray, run: int,
    ) -> None:
        frame_id = cloud.header.frame_id
        # Of several cameras each has fragments of its own.
        builder = self._builders.setdefault(frame_id, FragmentBuilder(self._config))
        if not builder.wants(stamp_ns, T_odom_camera):
            return
        try:
            self._check(stamp_ns, frame_id)  # it may have changed while the frame waited
            points = points_from_cloud(cloud)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._take_finished(builder.add(points, stamp_ns, frame_id, T_odom_camera, run))

    def _take_finished(self, fragment: Fragment | None) -> None:
        if fragment is not None:
            self._take_fused(fragment)

    def _give_up(self, error: TransformError) -> None:
        self._refuse(Refusal('no_transform', str(error)))
