# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The watchdog over real DDS: it names what is wrong with the input, and the cure works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from mvreg_ros.node import watchdog
from mvreg_ros.node.watchdog import Problem, Watchdog
from node_session import cloud_of, participant, PATIENCE, session, views
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan, PointCloud2

RELIABLE = QoSProfile(depth=5)
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass
class Watched:
    """A watchdog on `fragments`, and another node that may publish."""

    dog: Watchdog
    executor: SingleThreadedExecutor
    sensor: Node

    def until(self, condition: Callable[[Problem | None], bool]) -> str:
        """Look until the problem is as wanted and return its text."""
        end = monotonic() + PATIENCE
        while True:
            self.executor.spin_once(0.02)
            self.dog.look()
            if condition(self.dog.problem):
                return self.dog.problem.text if self.dog.problem else ''
            assert monotonic() < end, self.dog.problem


@contextmanager
def watched(*arguments: str) -> Iterator[Watched]:
    """Yield a watchdog in a node of its own that was started with ROS arguments."""
    with participant(*arguments) as context, participant() as other:
        node = Node('mvreg', context=context)
        subscription = node.create_subscription(PointCloud2, 'fragments', print, RELIABLE)
        node.create_publisher(PointCloud2, '~/map', RELIABLE)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        yield Watched(
            Watchdog(node, {'fragments': subscription}), executor, Node('sensor', context=other))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a problem mean something at once."""
    monkeypatch.setattr(watchdog, 'PATIENCE', 0.0)


def says(*words: str) -> Callable[[Problem | None], bool]:
    """Return whether a problem has these words."""
    return lambda problem: problem is not None and all(word in problem.text for word in words)


def test_nobody_publishes() -> None:
    with watched() as at:
        text = at.until(says('nobody publishes on /fragments'))
        assert at.dog.problem is not None and at.dog.problem.level == DiagnosticStatus.WARN
        assert text.endswith('-r fragments:=/that/topic')  # its own map is no sensor


def test_a_cloud_elsewhere_is_named_and_the_cure_works() -> None:
    with watched() as at:
        at.sensor.create_publisher(PointCloud2, 'camera/points', RELIABLE)
        text = at.until(says('did you remap?'))
    assert 'There is /camera/points' in text
    cure = text.rsplit('start the node with ')[1].split()
    assert cure == ['-r', 'fragments:=/camera/points']
    with watched(*cure) as at:
        at.sensor.create_publisher(PointCloud2, 'camera/points', RELIABLE)
        at.until(says('/sensor could publish on /camera/points, but nothing has arrived'))


def test_a_topic_of_another_type_is_an_error() -> None:
    with watched() as at:
        at.sensor.create_publisher(LaserScan, 'fragments', RELIABLE)
        text = at.until(says('/fragments has sensor_msgs/msg/LaserScan from /sensor'))
        assert 'not sensor_msgs/msg/PointCloud2' in text
        assert at.dog.problem is not None and at.dog.problem.level == DiagnosticStatus.ERROR


def test_a_best_effort_publisher_is_an_error_even_after_others_were_heard() -> None:
    with watched() as at:
        at.dog.feed()
        at.sensor.create_publisher(PointCloud2, 'fragments', RELIABLE)
        at.sensor.create_publisher(PointCloud2, 'fragments', BEST_EFFORT)
        text = at.until(says('nothing arrives on /fragments from /sensor'))
        assert 'Best effort publisher and reliable subscription; start the node with' in text
        assert at.dog.problem is not None and at.dog.problem.level == DiagnosticStatus.ERROR


def test_silence_is_a_problem_until_something_arrives(capfd: pytest.CaptureFixture[str]) -> None:
    with watched() as at:
        publisher = at.sensor.create_publisher(PointCloud2, 'fragments', RELIABLE)
        at.until(says('/sensor could publish', 'nothing has arrived', '--ipc=host'))
        for _ in range(3):
            at.dog.look()
        at.dog.feed()
        at.until(lambda problem: problem is None)
        at.sensor.destroy_publisher(publisher)
        at.until(lambda problem: not at.dog._node.count_publishers('fragments'))
        assert at.dog.problem is None  # a bag that has ended
    assert capfd.readouterr().err.count('/sensor could publish') == 1  # not once a look


def test_two_inputs_are_watched_as_one() -> None:
    with watched() as at:
        node = at.dog._node
        depth = node.create_subscription(PointCloud2, 'depth', print, RELIABLE)
        at.dog = Watchdog(node, {**at.dog._inputs, 'depth': depth})
        text = at.until(says('nobody publishes on /fragments or /depth'))
        assert text.endswith('-r fragments:=/that/topic or -r depth:=/that/topic')
        at.sensor.create_publisher(PointCloud2, 'depth', RELIABLE)
        at.until(says('/sensor could publish on /depth, but'))


def test_nothing_is_said_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, 'PATIENCE', 3600.0)
    with watched() as at:
        at.dog.look()
        assert at.dog.problem is None


def test_the_node_tells_the_problem_on_its_status_and_diagnostics() -> None:
    with session(qos=BEST_EFFORT) as running:
        def diagnosis() -> DiagnosticStatus:
            return running.receive(DiagnosticArray, '/diagnostics', RELIABLE).status[0]

        running.consumer.until(
            lambda: 'Best effort' in running.consumer.status['problem'], 'the problem', PATIENCE)
        found = diagnosis()
        assert found.level == DiagnosticStatus.ERROR
        assert 'qos_overrides./fragments.subscription.reliability:=best_effort' in found.message
        heard = running.consumer.create_publisher(PointCloud2, 'fragments', RELIABLE)
        running.consumer.destroy_publisher(running.fragments)
        running.consumer.until(lambda: heard.get_subscription_count() > 0, 'a match', PATIENCE)
        heard.publish(cloud_of(views(1)[0]))
        running.until_status(problem='', fragments=1)
        assert diagnosis().level == DiagnosticStatus.OK
