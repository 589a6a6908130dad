# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a depth camera and odometry on TF, over real DDS, become fragments with priors."""

from __future__ import annotations

from collections.abc import Iterator

from depth_camera import flight, Robot, View
from geometry_msgs.msg import PoseArray
from mvreg_ros.node.consumer import matrix
from mvreg_ros.node.interface import LATCHED
from node_session import cloud_of, Session, session, views
import numpy as np
import pytest
from std_srvs.srv import SetBool

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


def play(robot: Robot, flown: list[View]) -> None:
    """Publish odometry and frames as they come on a robot: the frame first."""
    for view in flown:
        robot.show(view)
        robot.move(view.stamp_ns, view.T_odom_camera)


def later(flown: list[View], seconds: int) -> list[View]:
    """Return the same views at a later time."""
    return [View(v.points, v.T_odom_camera, v.stamp_ns + seconds * 10**9) for v in flown]


def test_frames_become_fragments_that_are_registered(node: Session, robot: Robot) -> None:
    play(robot, FLIGHT)
    node.until_status(fragments=3)
    answer = node.call('~/register')
    assert answer.success, answer.message
    # The two frames that were left are a fourth fragment.
    assert answer.message.startswith('4 of 4 fragments placed; 1 component')
    held = node.node._buffer.fragments
    assert [fragment.stamp_ns for fragment in held] == [FLIGHT[k].stamp_ns for k in (0, 4, 8, 12)]
    poses = node.receive(PoseArray, '~/poses', LATCHED)
    for k, pose, fragment in zip((0, 4, 8, 12), poses.poses, held, strict=True):
        np.testing.assert_allclose(fragment.T_odom_fragment, FLIGHT[k].T_odom_camera, atol=1e-9)
        error = np.linalg.inv(FLIGHT[k].T_odom_camera) @ matrix(pose)
        assert np.abs(error - np.eye(4)).max() < 0.05
