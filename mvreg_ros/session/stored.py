# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How fragments are stored in the folder of a session.

    journal.jsonl           a header with the version, then an entry for each fragment
    fragments/000000.ply    its points, thinned, in its own frame
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from mvreg_ros.data.acceptance import thinned
from mvreg_ros.data.files import write_atomic
from mvreg_ros.data.ply import decode_ply, encode_ply
from mvreg_ros.refusal import Refusal
from mvreg_ros.session.journal import append_entry, create_journal, Entry, read_journal
from mvreg_ros.types import FloatArray, Fragment, InputError, MAX_COORDINATE
import numpy as np
from numpy.typing import NDArray

VERSION = 1
JOURNAL = 'journal.jsonl'
FRAGMENTS = 'fragments'
STAMPS = range(2**31 * 1_000_000_000)  # nanoseconds that a ROS stamp can hold
RUNS = range(2**31)


class DroppedPose(Refusal):
    """A pose that is left out of a fragment, which itself is kept."""


@dataclass(frozen=True)
class Content:
    """
    What a session holds.

    fragments: in order. refusals: why fragments are left out of them, or poses (DroppedPose).
    next_number: of a file that is not there yet.
    """

    fragments: list[Fragment]
    refusals: list[Refusal]
    next_number: int


def is_session(folder: Path) -> bool:
    """Return whether a folder is that of a session."""
    return (folder / JOURNAL).is_file()


def begin(folder: Path) -> None:
    """Begin the journal of a session; raises Refusal where it cannot be written."""
    with _writing():
        create_journal(folder / JOURNAL, {'version': VERSION})


def begin_again(folder: Path) -> None:
    """Write the header into a journal that was emptied; raises Refusal where it cannot be."""
    with _writing():
        append_entry(folder / JOURNAL, {'version': VERSION})


def store(folder: Path, number: int, fragment: Fragment) -> None:
    """
    Write a fragment under a number that was not used before and return when it is on the disk.

    Raises Refusal where it cannot be written; it is not in the session then, and leaves no file.
    """
    path = _points_file(folder, number)
    with _writing():
        write_atomic(path, encode_ply(fragment.points))
        try:
            append_entry(folder / JOURNAL, {
                'number': number, 'points': _checksum(fragment.points),
                'stamp_ns': fragment.stamp_ns, 'frame_id': fragment.frame_id,
                'sensor_origin': fragment.sensor_origin.tolist(),
                'T_map_fragment': _rows(fragment.T_map_fragment),
                'T_odom_fragment': _rows(fragment.T_odom_fragment),
                'odometry_run': fragment.odometry_run,
            })
        except InputError:
            with suppress(OSError):
                path.unlink()  # or each new try would leave one more
            raise


def read_session(folder: Path) -> Content:
    """
    Return what a session holds; a fragment whose entry or points are damaged is left out.

    Raises Refusal if a newer version wrote it or the journal cannot be read.
    """
    try:
        lines = read_journal(folder / JOURNAL)
    except InputError as error:
        raise Refusal('disk', str(error)) from error
    header = lines[0] or {}
    if header.get('version', VERSION) != VERSION:
        raise Refusal('newer_version', f"{folder} has version {header['version']!r}")
    fragments, refusals = list[Fragment](), list[Refusal]()
    if 'version' not in header:
        refusals.append(Refusal('damaged', f'{folder / JOURNAL}, line 1, the header'))
    # Where the line of the header is gone, the first line is an entry.
    entries = lines if header and 'version' not in header else lines[1:]
    numbers = list[object]()
    for line, entry in enumerate(entries, 1 + len(lines) - len(entries)):
        try:
            if entry is None:
                raise Refusal('damaged', f'{folder / JOURNAL}, line {line}')
            if entry.get('number') in numbers:
                raise Refusal('damaged', f'{folder / JOURNAL}, line {line}, which comes twice')
            numbers.append(entry.get('number'))
            fragment = _fragment(folder, entry)
            far: dict[str, Any] = dict.fromkeys(_far_poses(fragment))
            fragments.append(numbered(replace(fragment, **far), len(fragments)))
            refusals += [
                DroppedPose('too_far', f'{folder / JOURNAL}, line {line}, is kept without its '
                            f'{name}, which is more than {MAX_COORDINATE:g} m from its origin')
                for name in far]
        except Refusal as refusal:
            refusals.append(refusal)
    written = [int(file.stem) for file in (folder / FRAGMENTS).glob('*.ply')
               if file.stem.isdecimal()]
    named = [entry['number'] for entry in entries if entry and type(entry.get('number')) is int]
    return Content(fragments, refusals, max([-1, *written, *named]) + 1)


def usable(
    content: Content, prepare: Callable[[Fragment], Fragment], voxel_size: float
) -> tuple[list[Fragment], list[Refusal]]:
    """
    Return the fragments of a session thinned by `prepare`, with ids from 0, and what is refused.

    What was written with smaller voxels may have too few points at these.
    """
    fragments, refusals = list[Fragment](), list(content.refusals)
    for fragment in content.fragments:
        try:
            fragments.append(numbered(thinned(fragment, prepare, voxel_size), len(fragments)))
        except Refusal as refusal:
            refusals.append(refusal)
    return fragments, refusals


def numbered(fragment: Fragment, id: int) -> Fragment:
    """Return the fragment with its place in the session."""
    return replace(fragment, id=id, name=f'fragment_{id:04d}')


def _fragment(folder: Path, entry: Entry) -> Fragment:
    """Return the fragment of an entry; raises Refusal."""
    path = folder / JOURNAL
    try:
        path = _points_file(folder, entry['number'])
        if type(entry['stamp_ns']) is not int or entry['stamp_ns'] not in STAMPS:
            raise ValueError('its stamp is none')
        run = entry.get('odometry_run', 0)  # earlier versions knew one run
        if type(run) is not int or run not in RUNS:
            raise ValueError('its odometry_run is no number')
        points = decode_ply(path.read_bytes()).astype(np.float32)
        if _checksum(points) != entry['points']:
            raise ValueError('these are other points than were accepted')
        return Fragment(
            points, stamp_ns=entry['stamp_ns'], frame_id=str(entry['frame_id']),
            sensor_origin=_finite(entry['sensor_origin'], (3,)).astype(np.float32),
            T_map_fragment=_pose(entry['T_map_fragment']),
            T_odom_fragment=_pose(entry['T_odom_fragment']),
            odometry_run=run)
    except FileNotFoundError as error:
        raise Refusal('missing', f'{error.filename} is not there') from error
    except (OSError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise Refusal('damaged', f'{path}: {error}') from error


@contextmanager
def _writing() -> Iterator[None]:
    """Refuse what cannot be written."""
    try:
        yield
    except InputError as error:
        raise Refusal('disk', str(error)) from error


def _points_file(folder: Path, number: int) -> Path:
    return folder / FRAGMENTS / f'{number:06d}.ply'


def _checksum(points: NDArray[np.float32]) -> str:
    return sha256(points.astype('<f4', copy=False).tobytes()).hexdigest()


def _rows(T: FloatArray | None) -> list[list[float]] | None:
    return None if T is None else T.tolist()


def _pose(rows: Any) -> FloatArray | None:
    return None if rows is None else _finite(rows, (4, 4))


def _far_poses(fragment: Fragment) -> list[str]:
    """Return the names of poses that are too far away for a registration."""
    poses = {name: getattr(fragment, name) for name in ('T_map_fragment', 'T_odom_fragment')}
    return [name for name, T in poses.items()
            if T is not None and not (np.abs(T[:3, 3]) <= MAX_COORDINATE).all()]


def _finite(numbers: Any, shape: tuple[int, ...]) -> FloatArray:
    array = np.array(numbers, np.float64).reshape(shape)
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise ValueError('its numbers are not finite')
    return array
