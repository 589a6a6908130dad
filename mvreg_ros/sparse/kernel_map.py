# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which voxels meet through which offset of a kernel, in blocks of bounded size."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.sparse.coordinates import offset, Voxels
import torch
from torch import Tensor

# Pairs of voxels in a block: scratch has this many rows, of Cin and Cout channels.
MAX_PAIRS = 2**15


@dataclass(frozen=True)
class Block:
    """
    The pairs of voxels that meet in the output rows first to last - 1.

    inputs: (P,) input rows, by offset, then by output row. counts: pairs of each offset. order:
    (P,) the same pairs by output row; starts: (last - first,) where each row's begin in it.
    """

    first: int
    last: int
    inputs: Tensor
    counts: list[int]
    order: Tensor
    starts: Tensor

    @property
    def outputs(self) -> Tensor:
        """(P,) output rows of the pairs, in the order of `inputs`."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.order)])])
        rows = torch.arange(self.first, self.last, device=self.order.device)
        result = torch.empty_like(self.order)
        result[self.order] = torch.repeat_interleave(rows, ends - self.starts)
        return result


def kernel_map(
    source: Voxels, target: Voxels, size: int, stride_in: int, stride_out: int, mirrored: bool
) -> list[Block]:
    """
    Return the pairs source[c + o s] and target[c] for the offsets o of a kernel, x fastest.

    s is the smaller stride; mirrored has c - o s in place of c + o s. A block holds at most
    `MAX_PAIRS` pairs.
    """
    step = min(stride_in, stride_out)
    low = -(size // 2) if size % 2 else 0
    if mirrored:  # the same offsets with the other sign are the reverse of these
        low = 1 - size - low
    across = torch.tensor(
        [offset(low * step, y * step, z * step)
         for z in range(low, low + size) for y in range(low, low + size)],
        device=target.keys.device)
    # Along an axis only every ratio-th offset of a finer voxel leads to a coarser one.
    reach = -(-size // max(1, stride_in // stride_out))
    rows = max(1, MAX_PAIRS // reach**3)
    blocks = []
    for first in range(0, len(target), rows):
        lines = target.keys[first:first + rows] + across[:, None]
        found = source.rows(lines, step, size).transpose(0, 1).flatten(0, 1)
        blocks.append(block(first, found.flip(0) if mirrored else found))
    return blocks


def block(first: int, table: Tensor) -> Block:
    """Return the block of a table (K^3, rows) of input rows, -1 where there is none."""
    there = table >= 0
    place = (there.flatten().cumsum(0) - 1).view_as(table)
    per_row = there.sum(0)
    return Block(
        first=first, last=first + table.shape[1], inputs=table[there],
        counts=there.sum(1).tolist(), order=place.t()[there.t()],
        starts=per_row.cumsum(0) - per_row,
    )
