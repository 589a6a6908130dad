# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a depth camera and odometry on TF, over real DDS, become fragments with priors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from depth_camera import flight, message, Robot, View
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from mvreg_ros.node.consumer import matrix
from mvreg_ros.node.interface import LATCHED, STATUS, TF
from mvreg_ros.node.transforms import matrix as tf_matrix
from mvreg_ros.refusal import CURES
from node_session import cloud_of, directory, Session, session, set_parameter, views
import numpy as np
import pytest
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage

FLIGHT = flight(14)


@pytest.fixture(scope='module')
def running() -> Iterator[Session]:
    """Yield one node with odometry for all tests of this file."""
    with session('-p', 'prior.frame:=odom', '-p', 'frames.maximum_frames:=4') as node:
        yield node


@pytest.fixture(scope='module')
def robot(running: Session) -> Robot:
    """Return a robot that publishes to the node."""
    return Robot(running.consumer)


@pytest.fixture
def node(running: Session, robot: Robot) -> Session:
    """Return the common node without fragments."""
    running.call('~/reset')
    running.until_status(fragments=0, refused_no_transform=0)
    return running


def play(robot: Robot, flown: Sequence[View]) -> None:
    """Publish odometry and frames as they come on a robot: the frame first."""
    for view in flown:
        robot.show(view)
        robot.move(view.stamp_ns, view.T_odom_camera)


def later(flown: Sequence[View], seconds: int) -> list[View]:
    """Return the same views at a later time."""
    return [View(v.points, v.T_odom_camera, v.stamp_ns + seconds * 10**9) for v in flown]


def test_frames_become_fragments_that_are_registered_and_hold_the_odometry(
    node: Session, robot: Robot,
) -> None:
    play(robot, FLIGHT)
    node.until_status(fragments=3)
    answer = node.call('~/register')
    assert answer.success, answer.message
    # The two frames that were left are a fourth fragment.
    assert answer.message.startswith('4 of 4 fragments placed; 1 component')
    held = node.node._buffer.fragments
    first = [FLIGHT[k] for k in (0, 4, 8, 12)]
    assert [fragment.stamp_ns for fragment in held] == [view.stamp_ns for view in first]
    poses = [matrix(pose) for pose in node.receive(PoseArray, '~/poses', LATCHED).poses]
    for view, pose, fragment in zip(first, poses, held, strict=True):
        np.testing.assert_allclose(fragment.T_odom_fragment, view.T_odom_camera, atol=1e-9)
        # The map begins as the odometry's frame.
        assert np.abs(np.linalg.inv(view.T_odom_camera) @ pose - np.eye(4)).max() < 0.1

    received = node.receive(TFMessage, '/tf', TF.qos)
    while received.transforms[0].child_frame_id != 'odom':
        received = node.receive(TFMessage, '/tf', TF.qos)
    transform, = received.transforms
    assert transform.header.frame_id == 'map'
    T_map_camera = tf_matrix(transform) @ FLIGHT[12].T_odom_camera
    np.testing.assert_allclose(T_map_camera, poses[-1], atol=1e-6)

    node.call('~/reset')
    node.until_status(fragments=0)
    for _ in range(2):  # what was on its way is here
        node.receive(DiagnosticArray, '~/status', STATUS)
    node.consumer.received.pop('/tf')
    for _ in range(2):
        node.receive(DiagnosticArray, '~/status', STATUS)
    assert '/tf' not in node.consumer.received


def test_a_fragment_waits_for_its_transform_and_carries_it(node: Session, robot: Robot) -> None:
    fragment = replace(views(1)[0], frame_id='camera', stamp_ns=40 * 10**9)
    node.fragments.publish(cloud_of(fragment))
    T = FLIGHT[3].T_odom_camera
    robot.move(fragment.stamp_ns - 10**8, T)
    robot.move(fragment.stamp_ns, T)
    node.until_status(fragments=1)
    held, = node.node._buffer.fragments
    np.testing.assert_allclose(held.T_odom_fragment, T, atol=1e-9)


def test_a_fragment_whose_transform_is_lost_is_taken_without(
    node: Session, robot: Robot, capfd: pytest.CaptureFixture[str],
) -> None:
    robot.move(50 * 10**9, np.eye(4))
    node.publish([replace(views(1)[0], frame_id='camera', stamp_ns=1)])
    held, = node.node._buffer.fragments
    assert held.T_odom_fragment is None
    assert 'fragment taken without odometry: no transform from camera' in capfd.readouterr().err


def test_a_frame_without_transform_is_refused_with_the_cure(
    node: Session, robot: Robot, capfd: pytest.CaptureFixture[str],
) -> None:
    robot.move(60 * 10**9, np.eye(4))
    robot.show(View(FLIGHT[0].points, np.eye(4), 7))
    node.until_status(fragments=0, refused_no_transform=1)
    assert CURES['no_transform'] in capfd.readouterr().err


def test_a_frame_that_cannot_be_read_is_refused(node: Session, robot: Robot) -> None:
    stamp_ns = 90 * 10**9
    robot.move(stamp_ns, np.eye(4))
    robot.show(View(FLIGHT[0].points * np.nan, np.eye(4), stamp_ns))
    node.until_status(fragments=0, refused_not_finite=1)


def test_a_paused_node_takes_no_frames(node: Session, robot: Robot) -> None:
    node.call('~/pause', SetBool, data=True)
    robot.move(100 * 10**9, np.eye(4))
    robot.show(View(FLIGHT[0].points, np.eye(4), 100 * 10**9))
    node.until_status(refused_paused=1)
    node.call('~/pause', SetBool, data=False)


def fused(node: Session) -> int:
    """Return how many frames are in no fragment yet."""
    assert node.node._input.odometry is not None
    return sum(len(each._clouds) for each in node.node._input.odometry._builders.values())


def test_frames_of_before_a_pause_wait_for_its_end(
    node: Session, robot: Robot, capfd: pytest.CaptureFixture[str],
) -> None:
    play(robot, later(FLIGHT[:6], 102))
    node.until_status(fragments=1)
    node.consumer.until(lambda: fused(node) == 2, 'two frames', 20)
    node.call('~/pause', SetBool, data=True)
    assert not node.call('~/register').success
    assert (fused(node), node.node._buffer.refused['paused']) == (2, 0)
    assert 'frames stay in no fragment: paused' in capfd.readouterr().err
    node.call('~/pause', SetBool, data=False)
    assert node.call('~/register').message.startswith('2 of 2 fragments placed')


def test_a_registration_that_nobody_asked_for_cuts_no_fragment(
    node: Session, robot: Robot,
) -> None:
    play(robot, later(FLIGHT[:10], 104))
    node.until_status(fragments=2)
    node.consumer.until(lambda: fused(node) == 2, 'two frames', 20)
    set_parameter(node, 'auto_register.every', 2)
    try:
        play(robot, later(FLIGHT[10:12], 104))
        node.until_status(fragments=3)
        node.consumer.until(
            lambda: len(node.node._result.fragments) == 3, 'three fragments registered', 60)
    finally:
        set_parameter(node, 'auto_register.every', 0)
    play(robot, later(FLIGHT[12:], 104))
    node.consumer.until(lambda: fused(node) == 2, 'two frames', 20)
    assert len(node.node._buffer.fragments) == 3


def test_a_bag_that_begins_again_is_said_once_and_taken_up(
    node: Session, robot: Robot, capfd: pytest.CaptureFixture[str],
) -> None:
    play(robot, later(FLIGHT[:5], 200))
    node.until_status(fragments=1)
    capfd.readouterr()
    play(robot, later(FLIGHT[:5], 110))
    # The frame that was in no fragment yet is one of its own.
    node.until_status(fragments=3)
    assert capfd.readouterr().err.count('time has jumped back') == 1
    assert [fragment.stamp_ns // 10**9 for fragment in node.node._buffer.fragments] == [
        201, 201, 111]


def test_fragments_of_before_and_after_a_jump_of_odometry_are_of_different_runs(
    node: Session, robot: Robot,
) -> None:
    """A service sets odometry back while the robot drives."""
    play(robot, later(FLIGHT[:6], 400))
    node.until_status(fragments=1)
    T_anew = np.linalg.inv(FLIGHT[6].T_odom_camera)
    play(robot, [View(v.points, T_anew @ v.T_odom_camera, v.stamp_ns + 400 * 10**9)
                 for v in FLIGHT[6:]])
    node.until_status(fragments=4)  # of 4, 2, 4 and 4 frames
    held = node.node._buffer.fragments
    runs = [fragment.odometry_run for fragment in held]
    assert runs == [runs[0]] * 2 + [runs[0] + 1] * 2
    answer = node.call('~/register')
    assert answer.message.startswith('4 of 4 fragments placed')
    edges = node.node._result.registration.edges
    rows = edges.inliers == 0
    linked = list(zip(edges.i[rows], edges.j[rows], strict=True))
    assert linked == [(0, 1), (2, 3)]


@pytest.mark.parametrize('bad', [np.zeros((4, 4)), np.full((4, 4), np.nan)], ids=['zero', 'nan'])
def test_a_transform_that_is_none_is_left_out(
    node: Session, robot: Robot, capfd: pytest.CaptureFixture[str], bad: np.ndarray,
) -> None:
    broken = message('odom', 'base', 300 * 10**9, np.eye(4))
    rotation = broken.transforms[0].transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = bad[0].tolist()
    robot.publish_tf(broken)
    robot.move(301 * 10**9, np.eye(4))
    robot.show(View(FLIGHT[0].points, np.eye(4), 300 * 10**9))
    node.until_status(refused_no_transform=1)


def test_a_node_that_goes_on_with_a_session_begins_a_run_of_odometry(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    """The robot may have been switched off; what it has of before says nothing of odom now."""
    arguments = ('-r', '__ns:=/again', '-p', 'prior.frame:=odom', '-p', directory(tmp_path))
    first, second = views(2)
    fragments = [replace(each, frame_id='camera') for each in (first, second)]
    for run in range(2):
        with session(*arguments) as again:
            robot = Robot(again.consumer)
            if run:
                again.until_status(fragments=2)
                assert again.call('~/register').success
                assert 'odom has begun anew' in capfd.readouterr().err
            shift = 10 * run * 10**9
            for each in fragments:
                robot.move(each.stamp_ns + shift, np.eye(4))
                again.fragments.publish(cloud_of(replace(each, stamp_ns=each.stamp_ns + shift)))
            again.until_status(fragments=2 * (run + 1))
            runs = [each.odometry_run for each in again.node._buffer.fragments]
            assert runs == [0, 0, 1, 1][:2 * (run + 1)]


def test_frames_in_no_fragment_yet_are_kept_when_the_node_ends() -> None:
    with session('-r', '__ns:=/ending', '-p', 'prior.frame:=odom') as ending:
        play(Robot(ending.consumer), FLIGHT[:2])
        ending.consumer.until(lambda: fused(ending) == 2, 'two frames', 20)
        ending.node.stop(10)
        assert [each.stamp_ns for each in ending.node._buffer.fragments] == [FLIGHT[0].stamp_ns]
        assert fused(ending) == 0
