# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Feeds nonsense to what reads strangers' bytes.

    mvreg benchmark fuzz [--cases N] [--seed S]

Clouds, bags and sessions, each made well and then spoiled. A case is taken or refused with a
reason in one line; anything else is a finding, and its seed makes it again.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable
from pathlib import Path
import shutil
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

from benchmarks.footer import footer
from mvreg_ros.data.bags import fragment_from_cloud, read_bag, TYPE
from mvreg_ros.refusal import Refusal
from mvreg_ros.session.session import Session
from mvreg_ros.types import Fragment, InputError
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

STORE = get_typestore(Stores.ROS2_HUMBLE)
VOXEL_SIZE = 0.1
NUMBERS = (0, 1, 2, 3, 7, 12, 16, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 13, 2**32 - 1)
NAMES = ('x', 'y', 'z', 'X', 'xyz', '', 'intensity', 'x\n', '\x00', 'ü' * 300)
VALUES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e4, 3e38, 1e308)
STORAGES = (StoragePlugin.MCAP, StoragePlugin.SQLITE3)


def good_cloud(rng: np.random.Generator) -> Any:
    """Return a PointCloud2 of 1 to 30 points with the fields in any order and any padding."""
    names = rng.permutation(['x', 'y', 'z', *NAMES[6:6 + rng.integers(2)]]).tolist()
    datatype = int(rng.choice([7, 8]))
    size = {7: 4, 8: 8}[datatype]
    width, height = int(rng.integers(1, 11)), int(rng.integers(1, 4))
    point_step = size * len(names) + int(rng.integers(5))
    row_step = width * point_step + int(rng.integers(5))
    order = rng.choice(['<', '>'])
    data = np.zeros(height * row_step, np.uint8)
    fields = [(name, f'{order}f{size}') for name in names]
    grid = np.ndarray(
        (height, width), np.dtype({
            'names': names, 'formats': [format for _, format in fields],
            'offsets': [size * column for column in range(len(names))]}),
        data, strides=(row_step, point_step))
    for name in names:
        grid[name] = rng.normal(size=grid.shape)
    types = STORE.types
    return types[TYPE](
        header=types['std_msgs/msg/Header'](
            stamp=types['builtin_interfaces/msg/Time'](sec=int(rng.integers(2**31)), nanosec=0),
            frame_id='sensor'),
        height=height, width=width, fields=[
            types['sensor_msgs/msg/PointField'](
                name=name, offset=size * column, datatype=datatype, count=1)
            for column, name in enumerate(names)],
        is_bigendian=bool(order == '>'), point_step=point_step, row_step=row_step, data=data,
        is_dense=bool(rng.integers(2)))


def spoil_cloud(cloud: Any, rng: np.random.Generator) -> None:
    """Change one thing in a cloud."""
    number = int(rng.choice(NUMBERS))
    field = cloud.fields[rng.integers(len(cloud.fields))] if cloud.fields else None
    match rng.integers(11):
        case 0 | 1 | 2:
            name = str(rng.choice(['height', 'width', 'point_step', 'row_step']))
            setattr(cloud, name, number)
        case 3 if field:
            field.name = str(rng.choice(NAMES))
        case 4 if field:
            field.offset = number
        case 5 if field:
            field.datatype = int(rng.integers(256))
        case 6 if field:
            field.count = number
        case 7 if cloud.fields:
            cloud.fields.pop(rng.integers(len(cloud.fields)))
        case 8:
            cloud.data = cloud.data[:rng.integers(len(cloud.data) + 1)]
        case 9 if len(cloud.data) >= 8:
            with np.errstate(over='ignore'):  # 1e308 as float32
                value = np.array(rng.choice(VALUES), rng.choice(['<f4', '>f4', '<f8', '>f8']))
            start = rng.integers(len(cloud.data) - value.nbytes + 1)
            cloud.data[start:start + value.nbytes] = value.reshape(1).view(np.uint8)
        case _:
            cloud.header.stamp.nanosec = number
            cloud.header.frame_id = str(rng.choice(['', 'a\nb', 'sensor', 'ü' * 300]))


def spoiled_cloud(rng: np.random.Generator) -> Any:
    """Return a cloud with up to four faults."""
    cloud = good_cloud(rng)
    for _ in range(rng.integers(5)):
        spoil_cloud(cloud, rng)
    return cloud


def spoil_file(path: Path, rng: np.random.Generator) -> None:
    """Turn bits, cut, repeat or blank a part of a file."""
    content = bytearray(path.read_bytes())
    begin, end = sorted(rng.integers(len(content) + 1, size=2).tolist())
    match rng.integers(5):
        case 0:
            del content[begin:]
        case 1:
            del content[begin:end]
        case 2:
            content[begin:begin] = content[begin:end]
        case 3:
            content[begin:end] = bytes(end - begin)
        case _:
            for position in rng.integers(len(content), size=rng.integers(1, 9)):
                content[position] ^= 1 << rng.integers(8)
    path.write_bytes(content)


def keep(fragment: Fragment) -> Fragment:
    """Prepare nothing; too small is what has no points."""
    return fragment


def fuzz_cloud(rng: np.random.Generator, folder: Path) -> str:
    """Return 'taken', or the reason for which a spoiled cloud is refused."""
    cloud = spoiled_cloud(rng)
    try:
        points = fragment_from_cloud(cloud, [], keep, VOXEL_SIZE).points
    except Refusal as refusal:
        check_message(refusal)
        return refusal.reason
    expect(points.dtype == np.float32 and points.ndim == 2 and points.flags.c_contiguous, points)
    expect(0 < len(points) <= cloud.width * cloud.height, points.shape)
    expect(bool(np.isfinite(points).all()), points)
    return 'taken'


def write_bag(folder: Path, rng: np.random.Generator) -> Path:
    """Write a bag of three good clouds; return its folder."""
    with Writer(folder, version=8, storage_plugin=STORAGES[rng.integers(2)]) as writer:
        topic = writer.add_connection('/fragments', TYPE, typestore=STORE)
        for time_ns in range(3):
            writer.write(topic, time_ns, STORE.serialize_cdr(good_cloud(rng), TYPE))
    return folder


def fuzz_bag(rng: np.random.Generator, folder: Path) -> str:
    """Return what becomes of a bag of which one file is spoiled."""
    bag = write_bag(folder / 'bag', rng)
    files = sorted(bag.iterdir())
    spoil_file(files[rng.integers(len(files))], rng)
    storage = next(file for file in files if file.suffix in ('.mcap', '.db3'))
    try:
        fragments, refused = read_bag(
            (bag, storage)[rng.integers(2)], '', keep, VOXEL_SIZE)
    except InputError as error:
        check_message(error)
        return 'refused'
    return 'taken' if len(fragments) == 3 else f'taken but for {len(refused)} messages'


def fuzz_session(rng: np.random.Generator, folder: Path) -> str:
    """Return what becomes of a session of which one file is spoiled."""
    session = Session.create(folder / 'sessions')
    for stamp_ns in range(1, 4):
        points = rng.normal(size=(20, 3)).astype(np.float32)
        session.append(Fragment(points, stamp_ns=stamp_ns, frame_id='sensor'))
    session.close()
    files = sorted(file for file in session.folder.rglob('*') if file.is_file())
    spoil_file(files[rng.integers(len(files))], rng)
    try:
        session = Session(session.folder)
    except Refusal as refusal:
        check_message(refusal)
        return refusal.reason
    session.append(Fragment(np.zeros((1, 3), np.float32), frame_id='sensor'))
    session.close()
    for left_out in session.found.refusals:
        check_message(left_out)
    whole = sum(len(fragment.points) == 20 for fragment in session.found.fragments)
    expect(whole == len(session.found.fragments) <= 3, 'a fragment that was never accepted')
    return 'whole' if whole == 3 else f'{3 - whole} fragments lost, said so'


def check_message(error: Exception) -> None:
    """Raise AssertionError where the message is not one line, or is very long."""
    text = str(error)
    expect(text.isprintable() and len(text) < 1000, text)


def expect(holds: bool, what: object) -> None:
    """Raise AssertionError with `what` unless it holds."""
    if not holds:
        raise AssertionError(repr(what))


TARGETS: dict[str, Callable[[np.random.Generator, Path], str]] = {
    'clouds': fuzz_cloud, 'bags': fuzz_bag, 'sessions': fuzz_session}


def fuzz(target: str, cases: int, seed: int) -> Counter[str]:
    """Return how often each came out of cases seed, seed + 1, ...; raise RuntimeError if else."""
    outcomes: Counter[str] = Counter()
    with TemporaryDirectory() as scratch:
        for case in range(seed, seed + cases):
            folder = Path(scratch, str(case))
            folder.mkdir()
            try:
                outcomes[TARGETS[target](np.random.default_rng(case), folder)] += 1
            except Exception as error:
                again = f'--target {target} --seed {case} --cases 1'
                raise RuntimeError(f'a finding; to see it again: {again}') from error
            shutil.rmtree(folder)
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    """Print what became of the cases; the first finding ends it with a traceback."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--cases', type=int, default=1000, help='of each target')
    parser.add_argument('--seed', type=int, default=0, help='of the first case')
    parser.add_argument('--target', choices=TARGETS, help='default: all')
    options = parser.parse_args(arguments)
    for target in [options.target] if options.target else TARGETS:
        begin = time.monotonic()
        outcomes = fuzz(target, options.cases, options.seed)
        print(f'{target}: {options.cases} cases in {time.monotonic() - begin:.1f} s')
        for outcome, count in outcomes.most_common():
            print(f'  {count:7d}  {outcome}')
    print(f'\n{footer()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
