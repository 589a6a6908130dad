# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What comes in: fragments as they are published, and those fused from frames."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from mvreg_ros.data.point_cloud2 import points_from_cloud
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.interface import DEPTH_INPUT, INPUT
from mvreg_ros.node.odometry import Odometry
from mvreg_ros.node.retry_queue import RetryQueue
from mvreg_ros.node.watchdog import Problem, Watchdog
from mvreg_ros.refusal import CURES, Refusal
from mvreg_ros.session.stored import DroppedPose
from mvreg_ros.types import Fragment
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import PointCloud2


class FragmentInput:
    """
    Takes clouds into the buffer; what it refuses is counted, and logged with the cure.

    odometry: of the fragments, None without prior.frame. topic: of the fragments.
    """

    def __init__(self, node: Node, buffer: FragmentBuffer, changed: Callable[[], None]) -> None:
        """
        Go on with the last session, and listen on `node`.

        changed: is called when a fragment was taken or refused. Raises InputError if a parameter
        of the odometry cannot be used.
        """
        self._node, self._buffer, self._changed = node, buffer, changed
        # One logger for each reason, because throttling is by logger and line.
        self._loggers = {reason: node.get_logger().get_child(reason) for reason in CURES}
        self._resume()
        subscription = node.create_subscription(
            INPUT.type, INPUT.name, self._on_cloud,
            copy(INPUT.qos),  # overrides are written into it
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_message_lost),
        )
        self.topic = subscription.topic_name
        self._fused = RetryQueue(self._keep, self._refuse)
        self.odometry = (
            Odometry(node, buffer.fragments, self._check, self._take, self._take_fused,
                     self._refuse)
            if node.get_parameter('prior.frame').value else None)
        depth = {DEPTH_INPUT.name: self.odometry.subscription} if self.odometry else {}
        self._watchdog = Watchdog(node, {INPUT.name: subscription, **depth})
        node.get_logger().info(
            f'taking fragments on {self.topic} '
            f'({subscription.qos_profile.reliability.name.lower()})')

    @property
    def problems(self) -> list[Problem]:
        """Return what is wrong with the input now."""
        return [each for each in (self._watchdog.problem, self._fused.problem) if each]

    def look(self) -> None:
        """Look for publishers, and whether fragments that wait can be kept now."""
        self._watchdog.look()
        if self._fused.retry():
            self._changed()

    def complete(self) -> None:
        """Keep what frames have been fused so far as fragments."""
        self._fused.retry()
        if self.odometry is not None:
            self.odometry.close_fragments(self._keep)

    def stop(self) -> None:
        """Keep what can be kept before the process ends, and say what is lost with it."""
        self.complete()
        if self._fused.problem is not None:
            self._node.get_logger().error(f'lost with this node: {self._fused.problem.text}')

    def reset(self) -> None:
        """Forget clouds that are not yet in the buffer."""
        self._fused.clear()
        if self.odometry is not None:
            self.odometry.reset()

    def _resume(self) -> None:
        """Go on with the last session, and say what of it is lost."""
        lost = False
        for refusal in self._buffer.resume():
            if not isinstance(refusal, DroppedPose):
                self._buffer.refused[refusal.reason] += 1
                lost = True
            self._node.get_logger().warning(f'session: {refusal}')
        if self._buffer.session is not None:
            if lost and self._node.get_parameter('exclude').value:
                self._node.get_logger().warning(
                    'exclude may name other fragments than it was set for, because those after a '
                    'lost one have moved up in number: set it again')
            self._node.get_logger().info(
                f'going on with the {len(self._buffer.fragments)} fragments of '
                f'{self._buffer.session.folder}; call ~/reset to begin a new session')

    def _on_cloud(self, cloud: PointCloud2) -> None:
        try:
            stamp_ns = nanoseconds_from_stamp(cloud.header.stamp)
            frame_id = cloud.header.frame_id
            self._check(stamp_ns, frame_id)
            fragment = Fragment(points_from_cloud(cloud), stamp_ns=stamp_ns, frame_id=frame_id)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if self.odometry is None:
            self._take(fragment)
        else:
            self.odometry.locate(fragment)

    def _check(self, stamp_ns: int, frame_id: str) -> None:
        """Raise Refusal if a cloud of this header is not wanted now."""
        self._watchdog.feed()
        self._buffer.check(
            stamp_ns, frame_id, self._node.get_parameter('max_fragments').value)

    def _take(self, fragment: Fragment) -> None:
        try:
            self._keep(fragment)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._changed()

    def _take_fused(self, fragment: Fragment) -> None:
        self._fused.put(fragment)
        if self._fused.problem is not None:
            self._node.get_logger().warning(self._fused.problem.text)
        self._changed()

    def _keep(self, fragment: Fragment) -> None:
        """Hold a fragment; raises Refusal."""
        self._check(fragment.stamp_ns, fragment.frame_id)
        self._buffer.add(fragment)
        if fragment.stamp_ns == 0:
            self._node.get_logger().warning(
                'fragments have stamp zero: their poses in ~/path cannot be told apart; set '
                'header.stamp', once=True)

    def _on_message_lost(self, event: Any) -> None:
        self._refuse(
            Refusal('lost', f'{event.total_count} were overwritten before they could be sent'),
            event.total_count_change)

    def _refuse(self, refusal: Refusal, count: int = 1) -> None:
        self._watchdog.feed()
        self._buffer.refused[refusal.reason] += count
        self._loggers[refusal.reason].warning(
            f'cloud refused: {refusal}', throttle_duration_sec=5.0)
        self._changed()
