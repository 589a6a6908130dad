# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg register` on bags: what the node gives, and what cannot be used is said in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bag_files import file_of, write_bag
from geometry_msgs.msg import PoseArray
from mvreg_ros.cli import main
from mvreg_ros.data.bags import read_bag
from mvreg_ros.node.interface import LATCHED
from mvreg_ros.refusal import CURES
from mvreg_ros.session.session import Session
from mvreg_ros.types import Fragment, InputError
from node_session import cloud_of, session, views, VOXEL_SIZE
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

FRAGMENTS = views(4)
GOOD = [('/fragments', cloud_of(fragment)) for fragment in FRAGMENTS]


def refused_clouds() -> dict[str, PointCloud2]:
    """Return a cloud for each reason that lies in the cloud; its header comes once more."""
    first = FRAGMENTS[0]
    clouds = {
        reason: cloud_of(replace(first, stamp_ns=number, points=points))
        for number, (reason, points) in enumerate({
            'empty': first.points[:0], 'not_finite': first.points * np.nan,
            'too_far': first.points + np.float32(1e6), 'too_few_points': first.points[:10],
            'no_xyz': first.points, 'bad_size': first.points, 'no_frame_id': first.points,
            'bad_stamp': first.points,
        }.items(), 1)
    }
    clouds['no_xyz'].fields = clouds['no_xyz'].fields[:2]
    clouds['bad_size'].data = clouds['bad_size'].data[:-1]
    clouds['no_frame_id'].header.frame_id = ''
    clouds['bad_stamp'].header.stamp.nanosec = 10**9
    return {**clouds, 'stamp_repeated': cloud_of(first)}


def register(*arguments: object) -> int:
    """Run mvreg register as the node of a session is set."""
    return main(['register', *map(str, arguments),
                 '--voxel-size', str(VOXEL_SIZE), '--device', 'cpu'])


def read(bag: Path, topic: str = '') -> tuple[list[Fragment], list[str]]:
    """Return the fragments of a bag, not thinned, and the refusals."""
    return read_bag(bag, topic, prepare, VOXEL_SIZE)


def prepare(fragment: Fragment) -> Fragment:
    """Refuse what is too small, as MultiviewRegistration.prepare does."""
    if len(fragment.points) < 100:
        raise InputError('too few')
    return fragment


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the line with which mvreg register refuses its input, and leaves nothing behind."""
    out = Path(str(arguments[0])).parent / 'out'
    assert register(*arguments, '--out', out) == 2
    assert not [path for path in out.parent.iterdir() if path.name.startswith(('.', 'out'))]
    error = capsys.readouterr().err.strip().split('\n')[-1]
    assert error.startswith(f'mvreg: error: {arguments[0]}: ')
    return error


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_bag_gives_what_the_node_gives_bit_for_bit(
    storage: StoragePlugin, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    refused = refused_clouds()
    messages = [cloud for _, cloud in GOOD]
    messages[1:1] = refused.values()
    with session() as node:
        for cloud in messages:
            node.fragments.publish(cloud)
        node.until_status(fragments=4, **{f'refused_{reason}': 1 for reason in refused})
        assert node.call('~/register').success
        graph = node.receive(String, '~/graph', LATCHED).data
        assert len(node.receive(PoseArray, '~/poses', LATCHED).poses) == 4

    bag = write_bag(tmp_path / 'bag', [('/fragments', cloud) for cloud in messages], storage)
    out = tmp_path / 'out'
    assert register(bag, '--out', out) == 0
    assert (out / 'graph.json').read_text() == graph
    listed = capsys.readouterr().out
    assert f'refused: {len(refused)}\n' in listed
    for index, reason in enumerate(refused, 1):
        assert f'message {index}: {reason}: ' in listed
        assert CURES[reason] in listed

    fragments, lines = read(file_of(bag))
    assert [fragment.stamp_ns for fragment in fragments] == [each.stamp_ns for each in FRAGMENTS]
    assert all(line in listed for line in lines)


def same(content: tuple[list[Fragment], list[str]]) -> bool:
    """Return whether these are FRAGMENTS, none refused."""
    fragments, refused = content
    return not refused and len(fragments) == len(FRAGMENTS) and all(
        (read.stamp_ns, read.frame_id) == (given.stamp_ns, given.frame_id)
        and np.array_equal(read.points, given.points)
        for read, given in zip(fragments, FRAGMENTS, strict=True))


def test_the_topic_is_the_only_one_or_fragments_or_the_one_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    text = [('/chatter', String(data='hello'))]
    one = write_bag(tmp_path / 'one', text + [('/scan', cloud) for _, cloud in GOOD])
    assert same(read(one))

    both = [message for good in GOOD for message in (good, ('/camera/depth', GOOD[0][1]))]
    assert same(read(write_bag(tmp_path / 'two', both + text)))

    robots = write_bag(tmp_path / 'robots', [
        (f'/{robot}/fragments', cloud) for _, cloud in GOOD for robot in ('r2', 'r1')])
    assert same(read(robots, 'r2/fragments'))
    assert '--topic: /r1/fragments, /r2/fragments' in error_of(capsys, robots)
    assert '/nowhere, --topic can be: /r1/fragments, /r2/fragments' in error_of(
        capsys, robots, '--topic', '/nowhere')


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('compression', [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_a_compressed_bag_is_read(
    storage: StoragePlugin, compression: CompressionMode, tmp_path: Path,
) -> None:
    assert same(read(write_bag(tmp_path / 'bag', GOOD, storage, compression)))


def test_a_bag_of_something_else_names_what_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    bag = write_bag(tmp_path / 'bag', [('/chatter', String(data='hello'))])
    assert 'only /chatter (std_msgs/msg/String): record' in error_of(capsys, bag)
    assert 'only nothing: record' in error_of(capsys, write_bag(tmp_path / 'empty', []))


def test_a_bag_with_less_than_two_fragments_names_the_first_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    bag = write_bag(tmp_path / 'bag', [GOOD[0], GOOD[0]])
    error = error_of(capsys, bag)
    assert '1 of 2 messages can be used, two are needed; message 1: stamp_repeated: ' in error


def test_a_session_with_less_than_two_fragments_names_the_first_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    open_session = Session.create(tmp_path)
    for fragment in FRAGMENTS[:3]:
        open_session.append(fragment)
    open_session.close()
    folder = open_session.folder
    for number in (1, 2):
        (folder / 'fragments' / f'{number:06d}.ply').unlink()
    error = error_of(capsys, folder)
    assert f'{folder}: 1 fragments can be used, two are needed; missing: ' in error
    assert '000001.ply is not there; put the file back' in error


@pytest.mark.parametrize('storage', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('part', [0.0, 0.3, 0.95])
def test_a_bag_cut_short_is_named_with_the_cure(
    storage: StoragePlugin, part: float, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    bag = write_bag(tmp_path / 'bag', GOOD, storage)
    file = file_of(bag)
    content = file.read_bytes()
    file.write_bytes(content[:int(part * len(content))])
    for path in (bag, file):
        assert 'cannot be used, ' in error_of(capsys, path)


def test_a_recording_that_was_not_closed_and_a_missing_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    bag = write_bag(tmp_path / 'bag', GOOD)
    (bag / 'metadata.yaml').rename(tmp_path / 'metadata.yaml')
    assert f'run ros2 bag reindex {bag}' in error_of(capsys, bag)
    (tmp_path / 'metadata.yaml').rename(bag / 'metadata.yaml')
    file_of(bag).unlink()
    assert 'missing' in error_of(capsys, bag)
    assert 'no such file' in error_of(capsys, tmp_path / 'gone.mcap')


def test_bags_of_ros_1_and_bags_beside_other_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    old = tmp_path / 'old.bag'
    old.write_bytes(b'#ROSBAG V2.0\n')
    assert 'rosbags-convert' in error_of(capsys, old)
    bag = write_bag(tmp_path / 'bag', GOOD)
    assert 'a bag is registered alone' in error_of(capsys, bag, bag)


def test_a_topic_without_a_bag_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    words = [tmp_path, '--topic', 'a', '--out', tmp_path / 'out']
    assert register(*words) == 2
    assert f'--topic a is for a bag, and {tmp_path} is none' in capsys.readouterr().err
