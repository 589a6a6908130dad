# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The registration node as a process that can be killed, and a robot that publishes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
import os
from pathlib import Path
import random
from time import monotonic
from typing import Any

from mvreg_ros.node.clouds import cloud_from_points
from mvreg_ros.node.consumer import Consumer
from mvreg_ros.node.interface import INPUT
from mvreg_ros.node.registration_node import main as node_main
from mvreg_ros.node.stamps import stamp_from_nanoseconds
import numpy as np
from numpy.typing import NDArray
import rclpy
from rclpy.context import Context
from std_msgs.msg import Header
from std_srvs.srv import Trigger

VOXEL_SIZE = 0.1
PATIENCE = 120.0
# Each node is a fork of a process that has everything imported: it starts in a moment.
PROCESSES = get_context('forkserver')
PROCESSES.set_forkserver_preload(['mvreg_ros.node.registration_node'])


def use_own_domain() -> None:
    """Hear nobody else and be heard by nobody else."""
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, 100)))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')


@contextmanager
def joined(seed: int) -> Iterator[Robot]:
    """
    Yield a robot that joins ROS anew.

    One whose peers were killed thirty times is no longer heard: Fast DDS waits for the dead.
    """
    context = Context()
    rclpy.init(context=context)
    try:
        yield Robot(seed, context)
    finally:
        context.try_shutdown()


@contextmanager
def living_node(directory: Path, robot: Robot) -> Iterator[int]:
    """Start a node with its sessions in `directory`; yield its pid, and kill it at the end."""
    settings = {
        'session.directory': str(directory), 'voxel_size': VOXEL_SIZE, 'device': 'cpu',
        'features': 'fpfh', 'max_fragments': 1000000}
    arguments = ['--ros-args', '--log-level', 'fatal']
    for name, value in settings.items():
        arguments += ['-p', f'{name}:={json.dumps(value)}']
    node = PROCESSES.Process(target=node_main, args=(arguments,), daemon=True)
    node.start()
    assert node.pid is not None
    try:
        robot.meet(node)
        yield node.pid
    finally:
        node.kill()
        node.join()


def cloud(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return points (N, 3) of a bumpy floor."""
    points = rng.uniform((-3, -3, 0), (3, 3, 0), (4000, 3))
    for u, v, height in rng.uniform((-3, -3, 0.3), (3, 3, 1.0), (12, 3)):
        distance = np.linalg.norm(points[:, :2] - (u, v), axis=1)
        points[:, 2] += height * np.exp(-(distance / 0.7) ** 2)
    return points.astype(np.float32)


class Robot(Consumer):
    """Publishes clouds, each with a stamp of its own, and hears what the node says of them."""

    def __init__(self, seed: int, context: Context) -> None:
        """Make up some clouds, which are published again and again."""
        super().__init__(context=context)
        rng = np.random.default_rng(seed)
        self._clouds = [cloud(rng) for _ in range(8)]
        self._publisher = self.create_publisher(INPUT.type, INPUT.name, INPUT.qos)
        self.sent: dict[int, NDArray[np.float32]] = {}

    @property
    def held(self) -> int:
        """Fragments that the node has acknowledged, -1 before it has said anything."""
        return int(self.status.get('fragments', -1))

    def publish(self) -> None:
        """Publish the next cloud."""
        stamp_ns = 1_000_000_000 + len(self.sent)
        points = self._clouds[len(self.sent) % len(self._clouds)]
        self.sent[stamp_ns] = points
        header = Header(stamp=stamp_from_nanoseconds(stamp_ns), frame_id='sensor')
        self._publisher.publish(cloud_from_points(header, points))

    def publish_if_heard(self) -> None:
        """Publish the next cloud unless the node has yet to say something."""
        if self.held >= 0:
            self.publish()

    def meet(self, node: BaseProcess) -> None:
        """Wait until the node speaks and listens."""
        def met() -> bool:
            if not node.is_alive():
                raise RuntimeError(f'the node ended with exit code {node.exitcode}')
            return self.held >= 0 and self._publisher.get_subscription_count() > 0

        self.until(met, 'the node', PATIENCE)

    def wait(self, seconds: float) -> None:
        """Spin for some time."""
        end = monotonic() + seconds
        self.until(lambda: monotonic() >= end, 'the end', PATIENCE)

    def ask(self, service: str) -> Any:
        """Return the answer of a service of the node."""
        answer = self.call(Trigger, service)
        self.until(answer.done, service, PATIENCE)
        return answer.result()
