# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A registration node and its consumer for tests, each a DDS participant of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
import fcntl
from functools import cache, partial
import os
from pathlib import Path
import tempfile
from threading import Thread
from typing import Any

from geometry_msgs.msg import TransformStamped
from mvreg_ros.node.clouds import cloud_from_points
from mvreg_ros.node.consumer import Consumer
from mvreg_ros.node.interface import FRAGMENTS, LATCHED
from mvreg_ros.node.registration_node import RegistrationNode
from mvreg_ros.node.stamps import stamp_from_nanoseconds
from mvreg_ros.types import Fragment
import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

VOXEL_SIZE = 0.1
PATIENCE = 60.0
SETTINGS = ('-p', f'voxel_size:={VOXEL_SIZE}', '-p', 'device:=cpu')


@cache
def domain() -> int:
    """Return a ROS domain that no other test run on this machine uses, held until we end."""
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    for number in range(1, 101):
        path = Path(tempfile.gettempdir(), f'mvreg_ros_test_domain_{number}')
        try:
            # Never closed: the lock lasts as long as this process.
            fcntl.flock(os.open(path, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # of another test run, or of another user
        return number
    raise RuntimeError('all ROS domains are taken by test runs')


@contextmanager
def participant(*arguments: str) -> Iterator[Context]:
    """Yield a ROS context in the domain of this test run."""
    context = Context()
    rclpy.init(args=['--ros-args', *arguments], context=context, domain_id=domain())
    try:
        yield context
    finally:
        context.try_shutdown()


@dataclass
class Session:
    """A node that spins in a thread, and a consumer that can publish fragments."""

    node: RegistrationNode
    consumer: Consumer
    fragments: Publisher

    def publish(self, fragments: Sequence[Fragment]) -> None:
        """Publish fragments and wait until the node holds them too."""
        held = int(self.consumer.status['fragments'])
        for fragment in fragments:
            self.fragments.publish(cloud_of(fragment))
        self.until_status(fragments=held + len(fragments))

    def until_status(self, **expected: object) -> None:
        """Wait until ~/status has these values; refused_empty stands for refused.empty."""
        wanted = {
            key.replace('refused_', 'refused.'): str(value) for key, value in expected.items()}
        self.consumer.until(
            lambda: wanted.items() <= self.consumer.status.items(), str(wanted), PATIENCE)

    def call(self, service: str, type: type = Trigger, **request: Any) -> Any:
        """Call a service and return its answer."""
        answer = self.consumer.call(type, service, type.Request(**request))
        self.consumer.until(answer.done, f'the answer of {service}', PATIENCE)
        return answer.result()

    def receive(self, type: type, topic: str, qos: QoSProfile) -> Any:
        """Join `topic` now and return the first message that comes."""
        self.consumer.received.pop(topic, None)
        self.consumer.listen(type, topic, qos)
        self.consumer.until(lambda: topic in self.consumer.received, topic, PATIENCE)
        return self.consumer.received[topic]


@contextmanager
def session(*arguments: str, qos: QoSProfile = FRAGMENTS) -> Iterator[Session]:
    """
    Yield a node with ROS `arguments` and a consumer in the same namespace, both matched.

    Unless `arguments` say otherwise the sessions of the node end with the test.
    """
    namespace = [each for each in arguments if each.startswith('__ns:=')]
    with (
        tempfile.TemporaryDirectory() as folder,
        participant('-p', directory(folder), *SETTINGS, *arguments) as node_context,
        participant(*(['-r', *namespace] if namespace else [])) as consumer_context,
    ):
        node = RegistrationNode(context=node_context)
        executor = SingleThreadedExecutor(context=node_context)
        executor.add_node(node)
        thread = Thread(target=spin, args=(executor,))
        thread.start()
        consumer = Consumer(context=consumer_context)
        fragments = consumer.create_publisher(PointCloud2, 'fragments', qos)
        try:
            def ready() -> bool:
                node._changed.trigger()  # a status, so that nobody waits for the next second
                return bool(consumer.status) and consumer.count_subscribers('fragments') > 0

            consumer.until(ready, 'the node', PATIENCE)
            yield Session(node, consumer, fragments)
        finally:
            node.stop(10)
            node_context.try_shutdown()
            thread.join()


def directory(path: str | Path) -> str:
    """Return the setting of session.directory."""
    return f'session.directory:={path}'


def spin(executor: SingleThreadedExecutor) -> None:
    """Spin until the context ends, which takes its publishers along in the midst of a callback."""
    with suppress(ExternalShutdownException, InvalidHandle):
        executor.spin()


def latched_transforms(context: Context) -> list[TransformStamped]:
    """Join /tf_static as a node of `context`, a new one, and return what it holds."""
    late = Consumer(context=context)
    late.listen(TFMessage, '/tf_static', LATCHED)
    late.until(lambda: '/tf_static' in late.received, '/tf_static', PATIENCE)
    return list(late.received['/tf_static'].transforms)


def views(count: int, seed: int = 0) -> list[Fragment]:
    """Return views of a bumpy surface in frames of their own; each overlaps the next two."""
    rng = np.random.default_rng(seed)
    length = 2.0 * (count + 2)
    x, y = rng.uniform(0, length, 1000 * (count + 2)), rng.uniform(0, 6, 1000 * (count + 2))
    bumps = rng.uniform((0, 0, 0.4, 0.5), (length, 6, 1.2, 1.5), (12 * count, 4))
    z = sum(h * np.exp(-((x - u) ** 2 + (y - v) ** 2) / s ** 2) for u, v, s, h in bumps)
    surface = np.stack([x, y, z], axis=1)
    rotations = Rotation.random(count, random_state=seed)
    fragments = []
    for k in range(count):
        part = surface[(x >= 2 * k) & (x <= 2 * k + 6)] - [2 * k + 3, 3, 8]
        points = np.ascontiguousarray(rotations[k].apply(part), np.float32)
        fragments.append(Fragment(
            points, id=k, stamp_ns=1_000_000_001 * (k + 1), frame_id=f'sensor_{k}',
            name=f'fragment_{k:04d}'))
    return fragments


def cloud_of(fragment: Fragment) -> PointCloud2:
    """Return a fragment as a message."""
    stamp = stamp_from_nanoseconds(fragment.stamp_ns)
    return cloud_from_points(Header(stamp=stamp, frame_id=fragment.frame_id), fragment.points)


def wait_for_work(node: Session) -> None:
    """Wait until a registration is under way."""
    node.consumer.until(
        lambda: node.consumer.status['stage'] not in ('idle', 'starting'), 'a stage', 60)


def set_parameter(node: Session, name: str, value: object) -> str:
    """Set a parameter and return the reason for which it was not set, if it was not."""
    result, = node.node.set_parameters([Parameter(name, value=value)])
    return '' if result.successful else result.reason


def computed(node: Session) -> list[str]:
    """Return a list that gets a name each time that something is computed."""
    method, calls = node.node._registration.method, []

    def counting(name: str, function: Callable, *args: object) -> object:
        calls.append(name)
        return function(*args)

    for name in ('descriptor', 'register_pair'):
        setattr(method, name, partial(counting, name, getattr(method, name)))
    return calls
