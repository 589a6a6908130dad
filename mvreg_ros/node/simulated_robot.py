# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot in a simulated flat: it publishes fragments as a real one would, and the truth."""

from __future__ import annotations

from typing import Any, NoReturn

from geometry_msgs.msg import Point, Pose, PoseStamped
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.node.clouds import cloud_from_points
from mvreg_ros.node.interface import LATCHED
from mvreg_ros.node.outputs import pose_message
from mvreg_ros.node.spin import run, StoppableNode
from mvreg_ros.node.stamps import stamp_from_nanoseconds
from mvreg_ros.simulate import simulate_session
from mvreg_ros.types import RegistrationCancelled
from nav_msgs.msg import Path
import numpy as np
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

PERIOD = 0.1  # seconds between two fragments
WORLD = 'world'


class SimulatedRobot(StoppableNode):
    """
    Walks through a flat, then publishes what it saw to `fragments`, in random order.

    Waits for a subscriber first. `~/ground_truth` has T_world_fragment with the stamps of the
    fragments, `~/trajectory` the way of the camera. All three are latched.
    """

    def __init__(self) -> None:
        """Simulate; raises RegistrationCancelled when ROS is shut down meanwhile."""
        super().__init__('simulated_robot')
        seed: int = self.declare_parameter('seed', 0).value
        rooms: int = self.declare_parameter('rooms', 4).value
        count: int = self.declare_parameter('fragments', 30).value
        report = ProgressReport()

        def progress(stage: str, done: int, total: int) -> None:
            if not self.context.ok():
                raise RegistrationCancelled('the robot is told to stop')
            report(stage, done, total)

        session = simulate_session(seed, rooms, count, progress)
        report.close()
        self._unsent = [
            session.fragments[id] for id in np.random.default_rng(seed).permutation(count)]
        self._timer = self.create_timer(PERIOD, self._send)
        self._timer.cancel()  # until somebody listens
        self._fragments = self.create_publisher(
            PointCloud2, 'fragments',
            QoSProfile(depth=count, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            event_callbacks=PublisherEventCallbacks(matched=self._on_matched))
        self._latched = [
            self._latch('~/ground_truth', [
                PoseStamped(
                    header=Header(frame_id=WORLD, stamp=stamp_from_nanoseconds(each.stamp_ns)),
                    pose=pose_message(T_world_fragment))
                for each, T_world_fragment in zip(
                    session.fragments, session.T_world_fragment, strict=True)
            ]),
            self._latch('~/trajectory', [
                PoseStamped(
                    header=Header(frame_id=WORLD), pose=Pose(position=Point(x=x, y=y, z=z)))
                for x, y, z in session.trajectory.tolist()
            ]),
        ]

    def _latch(self, topic: str, poses: list[PoseStamped]) -> Publisher:
        publisher = self.create_publisher(Path, topic, LATCHED)
        publisher.publish(Path(header=Header(frame_id=WORLD), poses=poses))
        return publisher

    def _on_matched(self, event: Any) -> None:
        if event.current_count and self._unsent:
            self._timer.reset()

    def _send(self) -> None:
        """Publish a fragment; after the last, wait until the subscriber has them all."""
        fragment = self._unsent.pop()
        header = Header(
            frame_id=fragment.frame_id, stamp=stamp_from_nanoseconds(fragment.stamp_ns))
        self._fragments.publish(cloud_from_points(header, fragment.points))
        if not self._unsent:
            self._timer.cancel()
            arrived = self._fragments.wait_for_all_acked(Duration(seconds=10))
            self.get_logger().info(
                'all fragments arrived' if arrived else 'fragments were not acknowledged')


def main(args: list[str] | None = None) -> NoReturn:
    """Walk and publish, then stay for latecomers until SIGINT or SIGTERM, and end the process."""
    run(SimulatedRobot, args)


if __name__ == '__main__':
    main()
