# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds that wait for TF, map -> odom, and a clock that jumps, with nodes of our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depth_camera import message
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.fusion.transform_tree import TransformError
from mvreg_ros.node.consumer import Consumer
from mvreg_ros.node.interface import TF
from mvreg_ros.node.map_to_odom import MapToOdom
from mvreg_ros.node.outputs import NOTHING, Result
from mvreg_ros.node.parameters import declare_parameters
from mvreg_ros.node.stamps import stamp_from_nanoseconds
from mvreg_ros.node.transforms import matrix, TransformListener, WAITING
from mvreg_ros.types import Edges, Fragment, Registration
from node_session import participant
import numpy as np
import pytest
from rclpy.context import Context
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

SECOND = 10**9


@pytest.fixture(scope='module')
def context() -> Iterator[Context]:
    """Yield a context whose nodes take their time from /clock."""
    with participant('-p', 'use_sim_time:=true') as simulated:
        yield simulated


@pytest.fixture
def node(context: Context) -> Iterator[Consumer]:
    """Yield a node that spins only when it is told to."""
    made = Consumer(context=context)
    declare_parameters(made)
    yield made
    made.destroy_node()


class Answers:
    """What became of requests, in the order they were answered."""

    def __init__(self, listener: TransformListener) -> None:
        """Ask this listener."""
        self.given: list[Any] = []
        self._listener = listener

    def ask(self, stamp_ns: int, name: str = '') -> None:
        """Ask where base was."""
        self._listener.request(
            'base', stamp_ns, lambda T, run: self.given.append((name, T)),
            lambda error: self.given.append((name, error)))


def tell(listener: TransformListener, stamp_ns: int, T: np.ndarray | None = None) -> None:
    """Hand a listener a transform odom -> base."""
    listener._on_message(
        message('odom', 'base', stamp_ns, np.eye(4) if T is None else T), static=False)


def set_clock(node: Consumer, clock: Publisher, stamp_ns: int) -> None:
    """Publish the time until the node has it."""
    clock.publish(Clock(clock=stamp_from_nanoseconds(stamp_ns)))
    node.until(lambda: node.get_clock().now().nanoseconds == stamp_ns, 'the clock', 20)


def test_a_leading_slash_is_no_part_of_a_name(node: Consumer) -> None:
    listener, given = TransformListener(node, '/odom'), list[Any]()
    tell(listener, SECOND)
    listener.request('/base', SECOND, lambda T, run: given.append(T), given.append)
    np.testing.assert_array_equal(given, [np.eye(4)])


def test_odometry_that_is_too_far_away_is_none(node: Consumer) -> None:
    answers = Answers(listener := TransformListener(node, 'odom'))
    T = np.eye(4)
    T[0, 3] = 1e5
    tell(listener, SECOND, T)
    answers.ask(SECOND)
    assert 'more than 10000 m' in str(answers.given[0][1])


def test_who_waits_is_answered_in_order(node: Consumer) -> None:
    listener = TransformListener(node, 'odom')
    answers = Answers(listener)
    tell(listener, SECOND)
    answers.ask(3 * SECOND, 'first')
    answers.ask(2 * SECOND, 'second')
    assert answers.given == []
    tell(listener, 2 * SECOND)
    assert answers.given == []  # the first still waits
    T = np.eye(4)
    T[0, 3] = 5.0
    tell(listener, 4 * SECOND, T)
    (first, T_first), (second, T_second) = answers.given
    assert (first, second) == ('first', 'second')
    assert (T_first[0, 3], T_second[0, 3]) == (2.5, 0.0)


def test_not_everybody_may_wait(node: Consumer) -> None:
    listener = TransformListener(node, 'odom')
    answers = Answers(listener)
    for k in range(WAITING + 3):
        answers.ask(SECOND + k, str(k))
    assert [name for name, _ in answers.given] == ['0', '1', '2']
    assert all(isinstance(error, TransformError) for _, error in answers.given)
    listener.forget_requests()
    tell(listener, 0)
    tell(listener, 2 * SECOND)
    assert len(answers.given) == 3


def test_who_waits_in_vain_is_told(node: Consumer) -> None:
    answers = Answers(TransformListener(node, 'odom'))
    answers.ask(SECOND)
    node.until(lambda: bool(answers.given), 'the end of patience', 20)
    assert 'no transform links base to odom' in str(answers.given[0][1])


def test_a_clock_that_jumps_back_is_said_once_and_odometry_is_forgotten(
    node: Consumer, capfd: pytest.CaptureFixture[str],
) -> None:
    listener = TransformListener(node, 'odom')
    answers = Answers(listener)
    clock = node.create_publisher(Clock, '/clock', 10)
    set_clock(node, clock, 100 * SECOND)
    tell(listener, 99 * SECOND)
    tell(listener, 100 * SECOND)
    answers.ask(101 * SECOND, 'of before')
    set_clock(node, clock, 10 * SECOND)
    assert 'jumped back' in str(answers.given.pop()[1])
    tell(listener, 10 * SECOND)
    answers.ask(99 * SECOND, 'of before')
    assert answers.given == []
    listener.forget_requests()
    set_clock(node, clock, 11 * SECOND)
    tell(listener, 11 * SECOND)
    answers.ask(10 * SECOND + 1)
    np.testing.assert_array_equal(answers.given[0][1], np.eye(4))
    assert capfd.readouterr().err.count('time has jumped back') == 1


def test_who_asks_is_told_the_run_of_odometry(
    node: Consumer, capfd: pytest.CaptureFixture[str],
) -> None:
    listener = TransformListener(node, 'odom', 7)
    runs: list[int] = []

    def ask(stamp_ns: int) -> None:
        listener.request('base', stamp_ns, lambda T, run: runs.append(run), pytest.fail)

    T = np.eye(4)
    T[0, 3] = 2.0
    for k in range(6):
        tell(listener, SECOND + k * SECOND // 50, np.eye(4) if k == 3 else T)
        ask(SECOND + k * SECOND // 50)
    assert runs == [7, 7, 7, 8, 9, 9]
    assert (listener.run('base'), listener.run('/base')) == (9, 9)
    assert capfd.readouterr().err.count('odometry of base has begun anew') == 2


def placed(T_map_fragment: np.ndarray, T_odom_fragment: np.ndarray) -> Result:
    """Return a result with one fragment, for all that matters here."""
    registration = Registration(
        poses=T_map_fragment[None], placed=np.array([True]), component=np.array([0]),
        covariances=np.zeros((1, 6, 6)), edges=Edges.of([]), reason=np.array([''], object),
        seconds={})
    points = np.zeros((1, 3), np.float32)
    return Result(registration, [Fragment(points, T_odom_fragment=T_odom_fragment)], {})


def test_map_to_odom_ends_with_the_run_of_odometry_and_says_it_once(
    node: Consumer, capfd: pytest.CaptureFixture[str],
) -> None:
    transforms: list[TFMessage] = []
    node.create_subscription(TFMessage, TF.name, transforms.append, TF.qos)
    clock = node.create_publisher(Clock, '/clock', 10)
    now = iter(range(20 * SECOND, 90 * SECOND, SECOND // 10))

    def let_time_pass() -> int:
        """Let the clock go on for two seconds; return how many transforms came."""
        transforms.clear()
        for _ in range(20):
            set_clock(node, clock, next(now))
        return len(transforms)

    run = 3
    publisher = MapToOdom(node, 'odom', lambda frame: run)
    result = placed(np.eye(4), np.eye(4))
    publisher.update(result)  # the fragment is of run 0, as after a start of the node
    assert let_time_pass() == 0
    assert capfd.readouterr().err.count('odom has begun anew') == 1
    run = 0
    publisher.update(result)
    let_time_pass()
    node.until(lambda: bool(transforms), 'a transform', 20)
    run = 1
    let_time_pass()
    assert let_time_pass() == 0
    assert capfd.readouterr().err.count('odom has begun anew') == 1
    publisher.update(NOTHING)
    let_time_pass()
    assert capfd.readouterr().err == ''


def test_map_to_odom_follows_the_clock_and_stops_at_reset(node: Consumer) -> None:
    stamps: list[int] = []

    def keep(received: TFMessage) -> None:
        transform, = received.transforms
        assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'odom')
        np.testing.assert_allclose(matrix(transform), T_map_odom, atol=1e-12)
        stamps.append(nanoseconds_from_stamp(transform.header.stamp))

    T_map_odom = np.eye(4)
    T_map_odom[:3, 3] = 1, 2, 3
    T_odom_fragment = np.diag([-1.0, -1.0, 1.0, 1.0])
    node.create_subscription(TFMessage, TF.name, keep, TF.qos)
    clock = node.create_publisher(Clock, '/clock', 10)
    publisher = MapToOdom(node, 'odom', lambda frame: 0)
    publisher.update(placed(T_map_odom @ T_odom_fragment, T_odom_fragment))

    def advance(begin: int) -> list[int]:
        """Let the clock go on for a second from `begin`; return its times."""
        stamps.clear()
        times = [begin + k * SECOND // 10 for k in range(11)]
        for now in times:
            set_clock(node, clock, now)
        return times

    # The second time the bag begins again: no stamp of before comes any more.
    for begin in (50 * SECOND, 5 * SECOND):
        set_clock(node, clock, begin - SECOND)
        times = advance(begin)
        node.until(lambda: stamps[-1:] == times[-1:], 'transforms', 20)  # noqa: B023
        assert set(stamps) <= {begin - SECOND, *times}
        assert stamps == sorted(stamps)

    publisher.update(NOTHING)
    advance(8 * SECOND)
    assert not [stamp for stamp in stamps if stamp > 6 * SECOND]
