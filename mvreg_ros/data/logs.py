# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The text files of 3DMatch and Redwood: matrices of pairs of fragments, overlaps, and poses.

Each block is a header `i j n` (n fragments in the scene) and then the rows of a matrix: T_i_j in a
`.log`, the 6 x 6 information matrix in a `.info`, translation before rotation. A `.info.txt` is a
line about the fragment and then the rows of its pose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mvreg_ros.data.files import read_text, write_atomic
from mvreg_ros.types import FloatArray, InputError
import numpy as np

Pair = tuple[int, int]

# The published files are rounded; rotations in them are off by less than this.
RIGID_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PairMatrices:
    """A matrix for each of some pairs (i, j) of a scene of `count` fragments, in file order."""

    count: int
    matrices: dict[Pair, FloatArray]


def read_log(path: Path) -> PairMatrices:
    """
    Return T_i_j of each pair in a `.log` file.

    Raises InputError with the line number where the file is not what it should be.
    """
    pairs = _read_blocks(path, 4)
    for (i, j), T in pairs.matrices.items():
        if not _is_rigid(T):
            raise InputError(f'{path}: the matrix of pair {i} {j} is no rigid transform')
    return pairs


def read_info(path: Path) -> PairMatrices:
    """Return the (6, 6) information matrix of each pair in a `.info` file; raises as read_log."""
    return _read_blocks(path, 6)


def read_overlap(path: Path) -> dict[Pair, float]:
    """Return the overlap of each pair in a `gt_overlap.log` (i,j,overlap); raises as read_log."""
    overlap: dict[Pair, float] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            i, j, value = line.split(',')
            overlap[int(i), int(j)] = float(value)
        except ValueError as error:
            raise InputError(f'{path}:{number}: expected i,j,overlap: {line[:60]!r}') from error
    return overlap


def read_pose(path: Path) -> FloatArray:
    """
    Return T_world_fragment, (4, 4), of a `.info.txt` file.

    Raises InputError where the file is missing or not what it should be.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    pose = np.array([_row(path, number, row, 4) for number, row in enumerate(lines[1:5], 2)])
    if pose.shape == (4, 4) and np.allclose(pose[3], (0, 0, 0, 1), rtol=0, atol=RIGID_TOLERANCE):
        pose[3] = 0, 0, 0, 1  # published files have rounding errors here, too
    if pose.shape != (4, 4) or not _is_rigid(pose):
        raise InputError(f'{path}: expected a line and then the four rows of a rigid transform')
    return pose


def write_log(path: Path, count: int, transforms: Mapping[Pair, FloatArray]) -> None:
    """Write T_i_j of pairs of a scene of `count` fragments as a `.log` file."""
    _write_blocks(path, count, transforms)


def write_info(path: Path, count: int, information: Mapping[Pair, FloatArray]) -> None:
    """Write the (6, 6) information matrices of pairs as a `.info` file."""
    _write_blocks(path, count, information)


def _is_rigid(T: FloatArray) -> bool:
    R = T[:3, :3]
    orthogonal = np.allclose(R @ R.T, np.eye(3), rtol=0, atol=RIGID_TOLERANCE)
    return bool(orthogonal and np.linalg.det(R) > 0 and np.array_equal(T[3], (0, 0, 0, 1)))


def _read_blocks(path: Path, size: int) -> PairMatrices:
    lines = [(number, line.split()) for number, line in enumerate(read_text(path).splitlines(), 1)
             if line.strip()]
    blocks: dict[Pair, FloatArray] = {}
    counts = {0}
    for start in range(0, len(lines), size + 1):
        (number, words), *rows = lines[start:start + size + 1]
        i, j, count = _header(path, number, words)
        counts.add(count)
        if (i, j) in blocks or (j, i) in blocks:
            raise InputError(f'{path}:{number}: pair {i} {j} stands here a second time')
        if len(rows) < size:
            raise InputError(f'{path}:{number}: the file ends inside the matrix of this pair')
        blocks[i, j] = np.array([_row(path, number, row, size) for number, row in rows])
    return PairMatrices(max(counts), blocks)


def _header(path: Path, number: int, words: list[str]) -> tuple[int, int, int]:
    try:
        i, j, count = map(int, words)
    except ValueError as error:
        raise InputError(f"{path}:{number}: expected i j n: {' '.join(words)[:60]!r}") from error
    if not (0 <= i < count and 0 <= j < count) or i == j:
        raise InputError(f'{path}:{number}: {i} {j} is no pair of {count} fragments')
    return i, j, count


def _row(path: Path, number: int, words: list[str], size: int) -> list[float]:
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = []
    if len(row) != size or not np.isfinite(row).all():
        raise InputError(
            f"{path}:{number}: expected {size} finite numbers: {' '.join(words)[:60]!r}")
    return row


def _write_blocks(path: Path, count: int, blocks: Mapping[Pair, FloatArray]) -> None:
    lines = []
    for (i, j), matrix in blocks.items():
        lines.append(f'{i}\t{j}\t{count}')
        lines += ['\t'.join(f'{value:.10e}' for value in row) for row in matrix]
    write_atomic(path, ''.join(f'{line}\n' for line in lines))
