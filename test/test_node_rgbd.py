# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A part of a real walk with a depth camera, replayed as PointCloud2 and TF over real DDS."""

from __future__ import annotations

from itertools import islice

from benchmarks.frames import read_frames
from depth_camera import PERIOD_NS, Robot, View
from mvreg_ros.fusion.fragment_builder import FragmentBuilder, FusionConfig
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.node.consumer import poses_by_stamp
from mvreg_ros.node.interface import LATCHED
from mvreg_ros.parameters import checked
import nav_msgs.msg
from node_session import session
import numpy as np
from real_data import real_data

FRAMES = 40
VOXEL_SIZE = 0.06


def finished(views: list[View]) -> list[int]:
    """Return the stamps of the fragments that are finished by these frames."""
    builder = FragmentBuilder(FusionConfig.of(checked({'voxel_size': VOXEL_SIZE})))
    done = [
        builder.add(view.points, view.stamp_ns, 'camera', view.T_odom_camera)
        for view in views if builder.wants(view.stamp_ns, view.T_odom_camera)]
    return [fragment.stamp_ns for fragment in done if fragment is not None]


def test_a_walk_with_a_hololens_becomes_fragments_where_they_were() -> None:
    frames = islice(read_frames(real_data('rgbd') / 'hololens', step=4), FRAMES)
    views = [
        View(points, T_odom_camera, (k + 1) * PERIOD_NS)
        for k, (points, T_odom_camera) in enumerate(frames)]
    expected = finished(views)
    assert len(expected) >= 3
    # Replayed faster than it was walked: none of the frames is to be overwritten.
    every = ('-p', 'qos_overrides./frames.subscription.depth:=100')
    with session('-p', 'prior.frame:=odom', '-p', f'voxel_size:={VOXEL_SIZE}', *every) as node:
        robot = Robot(node.consumer)
        for view in views:
            robot.show(view)
            robot.move(view.stamp_ns, view.T_odom_camera)
        node.until_status(fragments=len(expected))
        answer = node.call('~/register')
        assert answer.success, answer.message
        placed = poses_by_stamp(node.receive(nav_msgs.msg.Path, '~/path', LATCHED))
    assert placed.keys() >= set(expected)
    truth = {view.stamp_ns: view.T_odom_camera for view in views}
    for stamp_ns, pose in placed.items():
        error = np.linalg.inv(truth[stamp_ns]) @ pose
        assert np.linalg.norm(error[:3, 3]) < 0.2
        assert rotation_angle(error[:3, :3]) < np.radians(6)
