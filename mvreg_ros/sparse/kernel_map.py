# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which voxels meet through which offset of a kernel, in blocks of bounded size."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.sparse.bricks import Bricks, cube, SIDE
import torch
from torch import Tensor

# Pairs of voxels in a block: scratch has this many rows, of Cin and Cout channels.
MAX_PAIRS = 2**15


@dataclass(frozen=True)
class Block:
    """
    The pairs of voxels that meet in some output rows.

    rows: (R,) int64 output rows. inputs: (P,) int32 input rows, by offset, then by output row.
    counts: pairs of each offset. order: (P,) int32, the same pairs by output row; starts: (R,)
    where each row's begin in it.
    """

    rows: Tensor
    inputs: Tensor
    counts: list[int]
    order: Tensor
    starts: Tensor

    @property
    def outputs(self) -> Tensor:
        """(P,) output rows of the pairs, in the order of `inputs`."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.order)])])
        result = self.rows.new_empty(len(self.order))
        result[self.order.long()] = self.rows.repeat_interleave(ends - self.starts)
        return result


def reach_of(size: int) -> int:
    """Return how far a kernel reaches, in cells."""
    return size // 2 if size % 2 else size - 1


def offsets(size: int, mirrored: bool, device: torch.device) -> Tensor:
    """Return the offsets of a kernel in the cells of `Bricks.around`, (size^3,) int32."""
    low = -(size // 2) if size % 2 else 0
    axis = torch.arange(low, low + size, dtype=torch.int32, device=device)
    return cube(axis, SIDE + 2 * reach_of(size)) * (-1 if mirrored else 1)


def kernel_map(
    source: Bricks, rows: Tensor, targets: Tensor, size: int, ratio: int, mirrored: bool
) -> list[Block]:
    """
    Return the pairs source[c + o s] and target[c] for the offsets o of a kernel, x fastest.

    s is the smaller stride; mirrored has c - o s in place of c + o s. A block holds at most
    `MAX_PAIRS` pairs.
    """
    across = offsets(size, mirrored, targets.device)[:, None]
    # Along an axis only every ratio-th offset of a finer voxel leads to a coarser one.
    most = MAX_PAIRS // (-(-size // ratio))**3
    blocks = []
    for part, cells, places in source.around(rows, -1, targets, reach_of(size)):
        for some, here in zip(part.split(most), places.split(most), strict=True):
            table = cells.index_select(0, (here + across).view(-1)).view(-1, len(some))
            blocks.append(block(some, table))
    return blocks


def block(rows: Tensor, table: Tensor) -> Block:
    """Return the block of a table (K^3, R) of input rows, -1 where there is none."""
    there = table >= 0
    ends = there.sum(0).cumsum(0)
    starts = ends - there.sum(0)
    pairs = there.view(-1).nonzero().view(-1)
    place = (there.cumsum(0) + (starts - 1)).view(-1)[pairs]
    order = torch.empty(len(pairs), dtype=torch.int32, device=table.device)
    order[place] = torch.arange(len(pairs), dtype=torch.int32, device=table.device)
    return Block(rows, table.view(-1)[pairs], there.sum(1).tolist(), order, starts.int())
