# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The node and its bags among strangers: roswell, another DDS (RustDDS) and another reader of mcap.

It knows neither rclpy nor Fast DDS nor rosbags: what it understands is on the wire or in the file.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
import sys
from time import monotonic
from typing import Any

from bag_files import file_of, write_bag
from mvreg_ros import MultiviewRegistration
from mvreg_ros.node.outputs import pose_message
from node_session import cloud_of, domain, Session, session, views, VOXEL_SIZE
import roswell
import roswell.bag

FRAGMENTS = views(3)
TRIES = 6
# An empty request has one byte on the wire, which roswell leaves out unless it is written down.
TRIGGER = 'uint8 structure_needs_at_least_one_member\n---\nbool success\nstring message\n'


def test_a_client_of_another_dds_plays_a_bag_registers_and_reads_the_poses(
    tmp_path: Path,
) -> None:
    bag = write_bag(tmp_path / 'bag', [('/fragments', cloud_of(each)) for each in FRAGMENTS])
    service = tmp_path / 'std_srvs' / 'srv' / 'Trigger.srv'
    service.parent.mkdir(parents=True)
    service.write_text(TRIGGER)

    with session() as node, roswell.Node(
        'stranger', domain=domain(), type_paths=[tmp_path, sys.prefix],
    ) as stranger:
        samples = [sample.message for sample in roswell.bag.read(file_of(bag))]
        publisher = stranger.publisher(
            '/fragments', stranger.load_type('sensor_msgs/msg/PointCloud2'),
            roswell.QosProfile(depth=50))
        register = stranger.client(
            '/mvreg/register', *stranger.load_service('std_srvs/srv/Trigger'))

        sent = [0.0] * len(samples)

        def published() -> bool:
            """Publish one after the other, each second again: they may not have met yet."""
            held = int(node.consumer.status['fragments'])
            if held < len(samples) and monotonic() > sent[held] + 1:
                sent[held] = monotonic()
                publisher.publish(samples[held])
            return held == len(samples)

        node.consumer.until(published, 'the fragments of the stranger', 60)
        answer = answer_of(register, node)
        assert answer.success, answer.message
        assert answer.message.startswith('3 of 3 fragments placed')

        latched = stranger.subscribe(
            '/mvreg/poses', stranger.load_type('geometry_msgs/msg/PoseArray'),
            roswell.QosProfile.preset('latched'))
        poses = next(latched.messages(timeout=30))
        assert poses.header.frame_id == 'map'
        expected = MultiviewRegistration.from_pretrained(
            voxel_size=VOXEL_SIZE, device='cpu').register(FRAGMENTS)
        assert [numbers(pose) for pose in poses.poses] == [
            numbers(pose_message(pose)) for pose in expected.poses]


def answer_of(client: roswell.Client, node: Session) -> Any:
    """
    Call a service again until it answers something else than that an earlier call still runs.

    DDS does not keep a request or an answer for those that have not found each other yet, and
    roswell does not tell when a client and its service have.
    """
    for _ in range(TRIES):
        with suppress(roswell.RoswellTimeout):
            answer = client.call_sync(client.new_request(), timeout=8)
            if not answer.message.startswith('busy'):
                return answer
        node.consumer.until(lambda: node.node._job.stage is None, 'the end of that call', 60)
    raise TimeoutError(f'{client.name} did not answer {TRIES} calls')


def numbers(pose: object) -> list[float]:
    """Return the seven numbers of a pose."""
    position, orientation = pose.position, pose.orientation
    return [position.x, position.y, position.z,
            orientation.x, orientation.y, orientation.z, orientation.w]
