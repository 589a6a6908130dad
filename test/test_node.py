# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
import json

from geometry_msgs.msg import PoseArray
from mvreg_ros import MultiviewRegistration
from mvreg_ros.data.graph import graph_json
from mvreg_ros.data.point_cloud2 import points_from_cloud
from mvreg_ros.node.consumer import poses_by_stamp
from mvreg_ros.node.interface import LATCHED
from mvreg_ros.node.outputs import pose_message
from mvreg_ros.refusal import CURES
import nav_msgs.msg
from node_session import (
    cloud_of,
    latched_transforms,
    participant,
    Session,
    session,
    set_parameter,
    views,
    VOXEL_SIZE,
    wait_for_work,
)
import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

FRAGMENTS = views(4)
MANY = views(8)  # seconds of work
DISK = {'disk', 'damaged', 'missing', 'newer_version', 'in_use'}  # see test_node_session.py


@pytest.fixture(scope='module')
def node() -> Iterator[Session]:
    """Yield one node for the tests that leave it as they found it, but for its fragments."""
    with session() as running:
        yield running


@pytest.fixture
def empty_node(node: Session) -> Session:
    """Return the common node without fragments."""
    node.call('~/pause', SetBool, data=False)
    node.call('~/reset')
    node.until_status(fragments=0, stage='idle', **{f'refused_{reason}': 0 for reason in CURES})
    return node


def test_registration_over_dds_is_the_offline_call_bit_for_bit(empty_node: Session) -> None:
    empty_node.publish(FRAGMENTS)
    answer = empty_node.call('~/register')
    assert answer.success, answer.message
    expected = MultiviewRegistration.from_pretrained(
        voxel_size=VOXEL_SIZE, device='cpu').register(FRAGMENTS)
    assert expected.placed.all()

    poses = empty_node.receive(PoseArray, '~/poses', LATCHED)
    assert poses.header.frame_id == 'map'
    assert poses.poses == [pose_message(pose) for pose in expected.poses]
    path = empty_node.receive(nav_msgs.msg.Path, '~/path', LATCHED)
    assert [pose.pose for pose in path.poses] == poses.poses
    assert list(poses_by_stamp(path)) == [fragment.stamp_ns for fragment in FRAGMENTS]
    graph = empty_node.receive(String, '~/graph', LATCHED)
    assert graph.data == graph_json(FRAGMENTS, expected)


def test_a_latecomer_gets_tf_markers_and_map(empty_node: Session) -> None:
    empty_node.publish(FRAGMENTS)
    assert empty_node.call('~/register').success
    poses = empty_node.receive(PoseArray, '~/poses', LATCHED).poses

    transforms = empty_node.receive(TFMessage, '/tf_static', LATCHED).transforms
    assert [(each.header.frame_id, each.child_frame_id) for each in transforms] == [
        ('map', f'fragment_{k:04d}') for k in range(len(FRAGMENTS))]
    for transform, pose in zip(transforms, poses, strict=True):
        assert transform.transform.rotation == pose.orientation
        assert transform.transform.translation.x == pose.position.x

    markers = empty_node.receive(MarkerArray, '~/markers', LATCHED).markers
    assert markers[0].action == Marker.DELETEALL
    assert {marker.ns for marker in markers[1:]} >= {'nodes', 'edges', 'labels'}

    points = points_from_cloud(empty_node.receive(PointCloud2, '~/map', LATCHED))
    assert max(len(each.points) for each in FRAGMENTS) < len(points)
    assert len(points) < sum(len(each.points) for each in FRAGMENTS)


def test_the_answer_says_what_became_of_the_fragments(empty_node: Session) -> None:
    empty_node.publish(FRAGMENTS)
    answer = empty_node.call('~/register')
    assert answer.success
    assert answer.message.startswith('4 of 4 fragments placed; 1 component; ')
    assert 'edges kept' in answer.message
    stages = ('features', 'pairs', 'synchronization')
    assert all(stage in answer.message for stage in stages)
    # The answer may overtake the status.
    empty_node.consumer.until(
        lambda: all(
            float(empty_node.consumer.status.get(f'seconds.{stage}', 0)) > 0 for stage in stages),
        'the seconds of each stage', 10)


@pytest.mark.parametrize('count', [0, 1])
def test_one_fragment_is_too_few(empty_node: Session, count: int) -> None:
    empty_node.publish(FRAGMENTS[:count])
    answer = empty_node.call('~/register')
    assert not answer.success
    assert answer.message == (
        f'{count} fragments held, two are needed: publish them on /fragments')


def bad_clouds() -> dict[str, PointCloud2]:
    """Return a cloud for each reason that lies in the cloud."""
    good = FRAGMENTS[0]
    nowhere, nobody, future, twice = (cloud_of(good) for _ in range(4))
    nobody.header.frame_id = ''
    future.header.stamp.nanosec = 10**9
    nowhere.fields = nowhere.fields[:2]
    cut = cloud_of(replace(good, stamp_ns=2))
    cut.data = cut.data[:-1]
    return {
        'no_xyz': nowhere, 'no_frame_id': nobody, 'bad_stamp': future, 'bad_size': cut,
        'stamp_repeated': twice,
        'empty': cloud_of(replace(good, stamp_ns=3, points=good.points[:0])),
        'not_finite': cloud_of(replace(good, stamp_ns=4, points=good.points * np.nan)),
        'too_far': cloud_of(replace(good, stamp_ns=5, points=good.points + np.float32(1e6))),
        'too_few_points': cloud_of(replace(good, stamp_ns=6, points=good.points[:10])),
    }


def test_each_refusal_is_counted_by_its_reason_and_named_with_its_cure(
    empty_node: Session, capfd: pytest.CaptureFixture[str],
) -> None:
    empty_node.publish(FRAGMENTS[:1])
    clouds = bad_clouds()
    others = {'paused', 'buffer_full', 'lost', 'no_transform', *DISK}
    assert clouds.keys() | others == CURES.keys()
    clouds['no_xyz'].header.stamp.sec = 99  # not a repeated stamp
    for cloud in clouds.values():
        empty_node.fragments.publish(cloud)
    empty_node.until_status(fragments=1, **{f'refused_{reason}': 1 for reason in clouds})
    log = capfd.readouterr().err
    for reason in clouds:
        assert CURES[reason] in log
    empty_node.publish(FRAGMENTS[1:2])  # and it lives


def test_a_stamp_of_zero_and_stamps_in_any_order_are_welcome(
    empty_node: Session, capfd: pytest.CaptureFixture[str],
) -> None:
    empty_node.publish([replace(FRAGMENTS[0], stamp_ns=stamp) for stamp in (5, 3, 0, 0)])
    empty_node.publish([replace(FRAGMENTS[0], stamp_ns=5, frame_id='another')])
    assert 'stamp zero' in capfd.readouterr().err


def test_a_paused_node_refuses_and_then_takes_fragments(empty_node: Session) -> None:
    assert empty_node.call('~/pause', SetBool, data=True).success
    empty_node.fragments.publish(cloud_of(FRAGMENTS[0]))
    empty_node.until_status(fragments=0, refused_paused=1)
    assert empty_node.call('~/pause', SetBool, data=False).success
    empty_node.publish(FRAGMENTS[:1])


def test_fragments_are_taken_during_a_registration_for_the_next_one(empty_node: Session) -> None:
    empty_node.publish(MANY[:7])
    answer = empty_node.consumer.call(Trigger, '~/register')
    wait_for_work(empty_node)
    empty_node.publish(MANY[7:])
    assert not answer.done()
    empty_node.consumer.until(answer.done, 'the answer', 60)
    assert 'of 7 fragments placed' in answer.result().message
    assert 'of 8 fragments placed' in empty_node.call('~/register').message


def test_a_second_registration_is_told_busy_at_once(empty_node: Session) -> None:
    empty_node.publish(MANY)
    first = empty_node.consumer.call(Trigger, '~/register')
    wait_for_work(empty_node)
    second = empty_node.call('~/register')
    assert (second.success, second.message) == (False, 'busy')
    assert not first.done()
    empty_node.consumer.until(first.done, 'the first answer', 60)
    assert first.result().success


def test_a_registration_can_be_cancelled(empty_node: Session) -> None:
    empty_node.publish(MANY)
    answer = empty_node.consumer.call(Trigger, '~/register')
    wait_for_work(empty_node)
    assert empty_node.call('~/cancel').success
    empty_node.consumer.until(answer.done, 'the end of what was cancelled', 5)
    assert (answer.result().success, answer.result().message) == (False, 'cancelled')
    empty_node.until_status(stage='idle', fragments=len(MANY))
    assert not empty_node.call('~/cancel').success
    empty_node.call('~/reset')
    empty_node.until_status(fragments=0)
    empty_node.publish(FRAGMENTS[:3])
    assert empty_node.call('~/register').success


def test_reset_forgets_everything_and_empties_what_is_latched(empty_node: Session) -> None:
    empty_node.publish(FRAGMENTS)
    assert empty_node.call('~/register').success
    assert 'forgot 4 fragments' in empty_node.call('~/reset').message
    empty_node.until_status(fragments=0)
    assert empty_node.receive(PoseArray, '~/poses', LATCHED).poses == []
    assert empty_node.receive(nav_msgs.msg.Path, '~/path', LATCHED).poses == []
    assert empty_node.receive(PointCloud2, '~/map', LATCHED).width == 0
    assert json.loads(empty_node.receive(String, '~/graph', LATCHED).data)['nodes'] == []
    markers = empty_node.receive(MarkerArray, '~/markers', LATCHED).markers
    assert [marker.action for marker in markers] == [Marker.DELETEALL]
    assert not empty_node.call('~/save').success


def test_a_latecomer_gets_the_frames_of_the_present_result_only(empty_node: Session) -> None:
    empty_node.publish(FRAGMENTS)
    assert empty_node.call('~/register').success
    assert len(latched_frames()) == 4
    empty_node.call('~/reset')
    assert latched_frames() == []
    empty_node.until_status(fragments=0)
    empty_node.publish(FRAGMENTS[:2])
    assert empty_node.call('~/register').success
    assert latched_frames() == ['fragment_0000', 'fragment_0001']
    set_parameter(empty_node, 'publish_tf', False)
    assert empty_node.call('~/register').success
    set_parameter(empty_node, 'publish_tf', True)
    assert latched_frames() == []


def test_reset_stops_a_registration_and_its_result_is_not_published(empty_node: Session) -> None:
    empty_node.publish(MANY)
    answer = empty_node.consumer.call(Trigger, '~/register')
    wait_for_work(empty_node)
    assert empty_node.call('~/reset').success
    empty_node.consumer.until(answer.done, 'the end of what was reset', 5)
    assert not answer.result().success
    assert empty_node.receive(PoseArray, '~/poses', LATCHED).poses == []


def latched_frames() -> list[str]:
    """Return the frames that a process which starts now gets on /tf_static."""
    with participant() as context:
        return [each.child_frame_id for each in latched_transforms(context)]
