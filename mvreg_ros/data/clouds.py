# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Point clouds from files, and fragments from whatever the user names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
import re

from mvreg_ros.data.bags import is_bag
from mvreg_ros.data.ply import decode_ply
from mvreg_ros.session.stored import is_session
from mvreg_ros.types import Fragment, InputError, MAX_COORDINATE, no_progress, Progress
import numpy as np
from numpy.typing import NDArray
from pypcd4 import PointCloud

# Points (N, 3) and where the sensor stood, (3,).
Content = tuple[NDArray[np.float64], NDArray[np.float64]]


def decode_pcd(content: bytes) -> Content:
    """Return the points and the viewpoint of a PCD file; raise an exception with why it cannot."""
    cloud = PointCloud.from_fileobj(BytesIO(content))  # type: ignore[arg-type]
    if not {'x', 'y', 'z'} <= set(cloud.fields):
        raise ValueError('its points have no x, y and z')
    columns = [np.atleast_1d(cloud.pc_data[axis]).astype(np.float64) for axis in 'xyz']
    if len(columns[0]) != cloud.metadata.points:
        raise ValueError(f'it is truncated: the header announces {cloud.metadata.points} points')
    viewpoint = np.array(cloud.metadata.viewpoint[:3], np.float64)
    if not (np.abs(viewpoint) <= MAX_COORDINATE).all():
        raise ValueError(f'its viewpoint is {viewpoint}')
    return np.column_stack(columns), viewpoint


# PLY knows no viewpoint: the sensor is taken to have stood at the origin.
DECODERS: dict[str, Callable[[bytes], Content]] = {
    '.ply': lambda content: (decode_ply(content), np.zeros(3)), '.pcd': decode_pcd}


def read_cloud(path: str | Path) -> NDArray[np.float32]:
    """
    Return the finite points of a PLY or PCD file, (N, 3), in the frame of the file.

    Raises InputError where the file is missing, broken, of another format or without points.
    """
    return read_fragment(Path(path), 0).points


def read_fragment(path: Path, index: int) -> Fragment:
    """
    Return the fragment in a file; its id is `index`, its name that of the file.

    The sensor stood at the viewpoint of a PCD file, at the origin of a PLY file. Files carry no
    time: the index in seconds is the stamp, which keeps trajectory tools content. Raises as
    `read_cloud`.
    """
    decode = DECODERS.get(path.suffix.lower())
    if decode is None:
        raise InputError(f'{path}: not a .ply or .pcd file, convert it to one of them')
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror}') from error
    try:
        points, sensor_origin = decode(content)
    except Exception as error:  # a stranger's bytes may raise anything inside a parser
        cause = ' '.join(str(error).split())[:200]
        raise InputError(f'{path}: cannot be used, {cause}; write the file again') from error
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise InputError(f'{path}: holds no finite points, leave it out')
    if np.abs(points).max() > MAX_COORDINATE:
        raise InputError(
            f'{path}: has points more than {MAX_COORDINATE / 1000:.0f} km from its origin, '
            'check that its units are metres and move the cloud to the origin')
    return Fragment(
        np.ascontiguousarray(points, np.float32), id=index, stamp_ns=index * 1_000_000_000,
        name=path.stem, sensor_origin=sensor_origin.astype(np.float32))


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Return the key that sorts cloud_2 before cloud_10."""
    parts = re.findall(r'\d+|\D+', path.name)
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in parts]


def input_files(paths: Iterable[str | Path]) -> list[Path]:
    """
    Return the cloud files that `paths` name, in order.

    Files are taken as they come; a folder, such as a scene of 3DMatch, gives its .ply and .pcd
    files in the natural order of their names. The poses in .info.txt files are not looked at.
    Raises InputError for what cannot be read, with the cure.
    """
    files = []
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f'{path}: no such file or folder')
        if is_bag(path):
            raise InputError(f'{path}: a bag is registered alone, name no other input with it')
        if is_session(path):
            raise InputError(f'{path}: a session is registered alone, name no other input with it')
        if not path.is_dir():
            files.append(path)
            continue
        if (path / 'fragments.csv').is_file():
            raise InputError(f'{path}: holds saved results, name the folder of their input')
        inside = [p for p in path.iterdir()
                  if p.suffix.lower() in DECODERS and not p.name.startswith('.')]
        if not inside:
            raise InputError(f'{path}: holds no .ply or .pcd files')
        files += sorted(inside, key=natural_key)
    return files


def read_fragments(
    files: Sequence[Path], prepare: Callable[[Fragment], Fragment],
    progress: Progress = no_progress, read: Callable[[Path, int], Fragment] = read_fragment,
) -> list[Fragment]:
    """
    Return the fragments in files, each prepared (thinned) before the next is read.

    read: makes a fragment of a file and its index. Raises InputError with the name of the file
    that cannot be read or prepared.
    """
    fragments = []
    for index, path in enumerate(files):
        fragment = read(path, index)
        try:
            fragments.append(prepare(fragment))
        except InputError as error:
            raise InputError(f'{path}: {error}') from error
        progress('reading', index + 1, len(files))
    return fragments
