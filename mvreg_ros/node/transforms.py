# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Poses from /tf and /tf_static at the stamps of clouds, which wait without blocking."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic

from geometry_msgs.msg import TransformStamped
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.fusion.transform_tree import JUMP_NS, TransformError, TransformTree
from mvreg_ros.node.interface import TF, TF_STATIC
from mvreg_ros.node.ros_compat import quaternion_matrix
from mvreg_ros.refusal import Refusal
from mvreg_ros.types import FloatArray, MAX_COORDINATE
import numpy as np
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

# A transform that has not come so long after the cloud, by the wall clock, does not come any more.
PATIENCE = 5.0
WAITING = 50  # clouds that may wait; one more drives the first of them out


@dataclass(frozen=True)
class Request:
    """What is wanted of which pose, since when, and what to do when it is there or never comes."""

    source: str
    stamp_ns: int
    take: Callable[[FloatArray, int], None]
    give_up: Callable[[TransformError], None]
    since: float


class TransformListener:
    """
    Listens to TF and answers, in order, where frames were in `target`.

    When time jumps back, because a bag begins again, what moves is forgotten and who waits gives
    up.
    """

    def __init__(self, node: Node, target: str, first_run: int = 0) -> None:
        """
        Listen on `node`.

        target: the frame that all poses are wanted in. first_run: see `TransformTree`.
        """
        self._node = node
        self._target = target.removeprefix('/')
        self._tree = TransformTree(self._target, first_run)
        self._last_run = first_run
        self._requests: deque[Request] = deque()
        for topic, static in ((TF, False), (TF_STATIC, True)):
            node.create_subscription(
                TFMessage, topic.name, partial(self._on_message, static=static), topic.qos)
        node.create_timer(
            PATIENCE / 5, self._answer, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._jump_handle = node.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-JUMP_NS),
                on_clock_change=False),
            post_callback=self._on_clock_jump)

    def request(
        self, source: str, stamp_ns: int, take: Callable[[FloatArray, int], None],
        give_up: Callable[[TransformError], None],
    ) -> None:
        """
        Call `take` with T_target_source at a time once it is known, `give_up` if it never will be.

        `take` is told the run of odometry, too. Requests are answered in the order they are made.
        """
        self._requests.append(
            Request(source.removeprefix('/'), stamp_ns, take, give_up, monotonic()))
        self._answer()

    def run(self, source: str) -> int:
        """Return the run of odometry that poses of `source` are of now."""
        return self._tree.run(self._target, source.removeprefix('/'))

    def forget_requests(self) -> None:
        """Answer nobody who waits now."""
        self._requests.clear()

    def _on_message(self, message: TFMessage, *, static: bool) -> None:
        for transform in message.transforms:
            self._add(transform, static)
        self._answer()

    def _add(self, transform: TransformStamped, static: bool) -> None:
        parent = transform.header.frame_id.removeprefix('/')
        child = transform.child_frame_id.removeprefix('/')
        try:
            stamp_ns = nanoseconds_from_stamp(transform.header.stamp)
        except Refusal as refusal:
            return self._refuse(parent, child, str(refusal))
        T = matrix(transform)
        if not np.isfinite(T).all() or not parent or not child or parent == child:
            return self._refuse(parent, child, 'it is no rigid motion between two frames')
        jumped = self._tree.add(parent, child, stamp_ns, T, static=static)
        if jumped and not self._node.get_clock().ros_time_is_active:  # else the clock says it
            self._on_jump()

    def _refuse(self, parent: str, child: str, why: str) -> None:
        self._node.get_logger().warning(
            f'transform from {child!r} to {parent!r} left out: {why}; mend its publisher',
            throttle_duration_sec=5.0)

    def _on_clock_jump(self, jump: TimeJump) -> None:
        self._tree.clear()
        self._on_jump()

    def _on_jump(self) -> None:
        self._node.get_logger().warning(
            'time has jumped back, as when a bag begins again: odometry of before is forgotten')
        while self._requests:
            self._requests.popleft().give_up(
                TransformError('time has jumped back', may_come=False))

    def _answer(self) -> None:
        """Answer the first who waits, and so on up to one whose pose may yet come."""
        while self._requests:
            request = self._requests[0]
            answer: Callable[[], None]
            try:
                T = self._tree.lookup(self._target, request.source, request.stamp_ns)
                if not (np.abs(T[:3, 3]) <= MAX_COORDINATE).all():
                    raise TransformError(
                        f'{request.source} is more than {MAX_COORDINATE:g} m from {self._target}',
                        may_come=False)
                answer = partial(request.take, T, self._noted_run(request.source))
            except TransformError as error:
                late = monotonic() - request.since > PATIENCE or len(self._requests) > WAITING
                if error.may_come and not late:
                    return
                answer = partial(request.give_up, error)
            self._requests.popleft()
            answer()

    def _noted_run(self, source: str) -> int:
        """Return the run of `source`; say it if it is new."""
        run = self.run(source)
        if run > self._last_run:
            self._node.get_logger().warning(
                f'odometry of {source} has begun anew: it links nothing of before to what follows')
            self._last_run = run
        return run


def matrix(transform: TransformStamped) -> FloatArray:
    """Return T_parent_child (4, 4), with NaN where the quaternion is none."""
    q, t = transform.transform.rotation, transform.transform.translation
    quaternion = np.array([q.x, q.y, q.z, q.w])
    if not (np.square(quaternion).sum() > 0.5):
        return np.full((4, 4), np.nan)
    T = np.array(quaternion_matrix(quaternion))
    T[:3, 3] = t.x, t.y, t.z
    return T
