# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments out of a rosbag2, taken and refused as the node takes and refuses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

from mvreg_ros.data.acceptance import check_header, thinned
from mvreg_ros.data.point_cloud2 import PointCloud2, points_from_cloud
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.refusal import Refusal
from mvreg_ros.types import Fragment, InputError, no_progress, Progress
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_typestore, Stores

TYPE = 'sensor_msgs/msg/PointCloud2'
STORAGES = ('.mcap', '.db3')
# Of the library and not of the bag: a stranger's definitions would become code.
TYPES = get_typestore(Stores.ROS2_HUMBLE)


def is_bag(path: Path) -> bool:
    """
    Return whether `path` is a bag: a file, or a folder, also of an unfinished recording.

    Raises InputError where that cannot be read.
    """
    try:
        if path.is_dir():
            return (path / 'metadata.yaml').is_file() or any(
                file.suffix in STORAGES for file in path.iterdir())
        return path.is_file() and path.suffix in (*STORAGES, '.bag')
    except OSError as error:
        raise InputError(
            f'{path}: cannot be read: {error.strerror}, make it readable for this user') from error


def read_bag(
    path: Path, topic: str, prepare: Callable[[Fragment], Fragment], voxel_size: float,
    progress: Progress = no_progress,
) -> tuple[list[Fragment], list[str]]:
    """
    Return the fragments in the PointCloud2 messages of a topic, in the order of the recording.

    And a line with reason and cure for each message that is refused. path: the folder of a
    rosbag2, or a .mcap or .db3 file. topic: '' takes the only topic with point clouds, or the only
    one of several that is called fragments. prepare: thins a fragment, before the next message is
    read. Raises InputError where the bag or the topic cannot be used, or gives less than two
    fragments.
    """
    fragments: list[Fragment] = []
    refused = []
    with _opened(path) as reader:
        connections = _chosen(path, reader.connections, topic)
        total = sum(connection.msgcount for connection in connections)
        for index, cloud in enumerate(_clouds(path, reader, connections)):
            try:
                fragments.append(
                    fragment_from_cloud(cloud, fragments, prepare, voxel_size))
            except Refusal as refusal:
                refused.append(f'message {index}: {refusal}')
            progress('reading', index + 1, total)
    if len(fragments) < 2:
        raise InputError(
            f'{path}: {len(fragments)} of {total} messages can be used, two are needed'
            + (f'; {refused[0]}' if refused else ''))
    return fragments, refused


def fragment_from_cloud(
    cloud: PointCloud2, held: list[Fragment], prepare: Callable[[Fragment], Fragment],
    voxel_size: float,
) -> Fragment:
    """Return the next fragment; raise Refusal where the node would refuse it."""
    stamp_ns, frame_id = nanoseconds_from_stamp(cloud.header.stamp), cloud.header.frame_id
    check_header(stamp_ns, frame_id, held)
    id = len(held)
    fragment = Fragment(
        points_from_cloud(cloud), id=id, stamp_ns=stamp_ns, frame_id=frame_id,
        name=f'fragment_{id:04d}')
    return thinned(fragment, prepare, voxel_size)


@contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    """Yield the reader of a bag; raise InputError where it cannot be opened."""
    if path.suffix == '.bag':
        raise InputError(f'{path}: is a bag of ROS 1, convert it with rosbags-convert')
    if path.is_dir() and not (path / 'metadata.yaml').is_file():
        raise InputError(
            f'{path}: has no metadata.yaml, the recording was not closed: run ros2 bag reindex '
            f'{path}, or name the file in it')
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # a stranger's bytes may raise anything inside a parser
        raise _unusable(path, error) from error
    with closing(reader):
        yield reader


def _clouds(path: Path, reader: Reader, connections: list[Connection]) -> Iterator[PointCloud2]:
    """Yield the messages of `connections`; raise InputError where they are damaged."""
    announced = sum(connection.msgcount for connection in connections)
    try:
        count = 0
        for _, _, data in reader.messages(connections):
            yield cast(PointCloud2, TYPES.deserialize_cdr(data, TYPE))
            count += 1
        if count != announced:
            raise ValueError(f'its index announces {announced} messages, it holds {count}')
    except Exception as error:  # as above
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> InputError:
    cause = ' '.join(str(error).split())[:200] or type(error).__name__
    cure = 'mcap recover' if path.suffix == '.mcap' else 'ros2 bag reindex'
    return InputError(f'{path}: cannot be used, {cause}; try {cure}, or record it again')


def _chosen(path: Path, connections: list[Connection], topic: str) -> list[Connection]:
    """Return the connections of the topic to read; raise InputError where it is not clear."""
    clouds = [connection for connection in connections if connection.msgtype == TYPE]
    topics = sorted({connection.topic for connection in clouds})
    found = ', '.join(topics)
    if not topics:
        others = ', '.join(sorted({f'{each.topic} ({each.msgtype})' for each in connections}))
        raise InputError(
            f'{path}: holds no {TYPE}, only {others or "nothing"}: record the topic of the '
            'fragments')
    if topic:
        named = [name for name in topics if name.lstrip('/') == topic.lstrip('/')]
        if not named:
            raise InputError(f'{path}: has no point clouds on {topic}, --topic can be: {found}')
    else:
        named = topics if len(topics) == 1 else [
            name for name in topics if name.split('/')[-1] == 'fragments']
        if len(named) != 1:
            raise InputError(
                f'{path}: has point clouds on several topics, choose one with --topic: {found}')
    chosen = [connection for connection in clouds if connection.topic == named[0]]
    if not sum(connection.msgcount for connection in chosen):
        raise InputError(f'{path}: {named[0]} has no messages, record it while they are sent')
    return chosen
