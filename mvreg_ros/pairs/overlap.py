# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which fragments overlap where they have been put, by registration or by a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.pairs.ranking import Pair, strongest
from mvreg_ros.types import FloatArray, Fragment
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class OverlapConfig:
    """
    When fragments are taken to overlap.

    share: of the cells of the smaller one that the other has too. cell: voxels. most: so many of
    those that overlap the most, for each fragment.
    """

    share: float = 0.15
    cell: float = 8.0
    most: int = 16


# Priors may be wrong, and what they propose is registered without a look.
BY_PRIORS = OverlapConfig(share=0.3, most=10)


def overlapping(
    points: Sequence[NDArray], poses: FloatArray, frame: NDArray[np.int64], voxel_size: float,
    config: OverlapConfig | None = None,
) -> set[Pair]:
    """Return the pairs that overlap; voxel_size in metres, else see `overlaps`."""
    config = config or OverlapConfig()
    shared = overlaps(points, poses, frame, config.cell * voxel_size)
    shared[shared < config.share] = -np.inf
    return strongest(shared, config.most)


def overlapping_by_priors(fragments: Sequence[Fragment], voxel_size: float) -> set[Pair]:
    """Return the pairs that overlap by their prior poses, or by odometry of the same run."""
    points = [fragment.points for fragment in fragments]
    found = set[Pair]()
    for given in (
        [(fragment.T_map_fragment, 0) for fragment in fragments],
        [(fragment.T_odom_fragment, fragment.odometry_run) for fragment in fragments],
    ):
        poses = np.stack([np.eye(4) if pose is None else pose for pose, _ in given])
        frame = np.array([-1 if pose is None else number for pose, number in given], np.int64)
        found |= overlapping(points, poses, frame, voxel_size, BY_PRIORS)
    return found


def overlaps(
    points: Sequence[NDArray], poses: FloatArray, frame: NDArray[np.int64], cell: float
) -> FloatArray:
    """
    Return (S, S) the share of the smaller fragment's cells that the other has too.

    points: (N, 3) of each fragment. poses: (S, 4, 4). frame: (S,) poses of fragments with the same
    number are in one frame; others do not overlap, nor does a fragment with -1. cell: metres, the
    edge of the cells.
    """
    count = len(points)
    placed = np.flatnonzero(frame >= 0).tolist()
    cells = [occupied(points[k], poses[k], cell, frame[k]) for k in placed]
    rows = np.repeat(np.array(placed, np.int64), [len(each) for each in cells])
    _, columns = distinct(np.concatenate([np.zeros((0, 4), np.int64), *cells]))
    holds = csr_matrix(
        (np.ones(len(rows)), (rows, columns)), (count, columns.max(initial=-1) + 1))
    common = (holds @ holds.T).toarray()
    size = np.maximum(common.diagonal(), 1)
    return common / np.minimum(size[:, None], size)


def occupied(points: NDArray, pose: FloatArray, cell: float, frame: int) -> NDArray[np.int64]:
    """Return the cells (M, 4) that points lie in, the number of the frame first."""
    raise_if_cancelled()
    world = points @ pose[:3, :3].T + pose[:3, 3]
    cells, _ = distinct(np.floor(world / cell).astype(np.int64))
    return np.insert(cells, 0, frame, axis=1)


def distinct(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Return the distinct ones of rows (N, C), and (N,) which of them each row is.

    np.unique compares whole rows as bytes, which takes several times as long.
    """
    order = np.lexsort(rows.T)
    ordered = rows[order]
    first = np.ones(len(rows), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(1)
    place = np.empty(len(rows), np.int64)
    place[order] = np.cumsum(first) - 1
    return ordered[first], place
