# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which voxels meet through which offset of a kernel, in blocks of bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from mvreg_ros.native import dispatch
from mvreg_ros.sparse import native_operators
from mvreg_ros.sparse.bricks import Bricks, grid, linear, SIDE
from mvreg_ros.types import InputError
import numpy as np
import torch
from torch import Tensor

# Pairs of voxels in a block, which is what a convolution has in memory at a time.
MAX_PAIRS = 2**16


@dataclass(frozen=True)
class Block:
    """
    The pairs of voxels that meet in the output rows first to last - 1, by offset of the kernel.

    inputs: (P,) int32 input rows. outputs: (P,) int32 output rows counted from `first`, ascending
    within an offset. counts: pairs of each offset.
    """

    first: int
    last: int
    inputs: Tensor
    outputs: Tensor
    counts: list[int]

    @cached_property
    def starts(self) -> Tensor:
        """(offsets + 1,) int64, where the pairs of each offset begin, and where the last end."""
        return torch.tensor([0, *accumulate(self.counts)])

    @cached_property
    def by_row(self) -> tuple[Tensor, Tensor]:
        """Return the pairs by output row, (P,) int32, and where those of each row begin in it."""
        per_row = torch.bincount(self.outputs, minlength=self.last - self.first)
        return stable_order(self.outputs), (per_row.cumsum(0) - per_row).int()


def size_of(kernel: Tensor) -> int:
    """Return K of a kernel (K^3, Cin, Cout); raise InputError where there is none or too large."""
    size = round(len(kernel) ** (1 / 3))
    if size**3 != len(kernel) or kernel.dim() != 3 or size > SIDE:
        raise InputError(
            f'a kernel is (K^3, Cin, Cout) with K up to {SIDE}, not {tuple(kernel.shape)}')
    return size


def offsets(size: int, mirrored: bool, device: torch.device) -> tuple[Tensor, int]:
    """
    Return the offsets of a kernel as int32 distances in `Bricks.around`, and their reach.

    An odd kernel is centred, an even one begins at 0; x is fastest. Mirrored ones have the other
    sign; they come ascending as well, which is in the reverse order of the kernel.
    """
    low = -(size // 2) if size % 2 else 0
    high = low + size - 1
    axis = torch.arange(-high if mirrored else low, 1 + (-low if mirrored else high))
    return linear(grid(axis.to(device)), max(-low, high)).flatten().int(), max(-low, high)


def kernel_map(
    source: Bricks, targets: Tensor, size: int, ratio: int, mirrored: bool
) -> list[Block]:
    """
    Return the pairs of a voxel c + o of the source and a target c, for the offsets o of a kernel.

    targets: (M,) keys of cells, ascending. ratio: how many times farther apart than cells the
    voxels of the source are. Mirrored has c - o in place of c + o.
    """
    across, reach = offsets(size, mirrored, targets.device)
    if mirrored:
        across = across.flip(0)
    # Along an axis only every ratio-th cell can hold a voxel.
    most = MAX_PAIRS // (-(-size // ratio))**3
    rows = torch.arange(source.count, dtype=torch.int32, device=targets.device)
    native = dispatch.serves(rows, dtype=torch.int32)
    find = native_operators.find_pairs if native else find_pairs
    blocks, first = [], 0
    for places, cells in source.around(rows, -1, targets, reach):
        for some in places.split(most):
            blocks.append(Block(first, first + len(some), *find(cells, some, across)))
            first += len(some)
    return blocks


def find_pairs(cells: Tensor, places: Tensor, across: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """Return inputs, outputs and counts of a block: what cells there are across from places."""
    table = cells.index_select(0, (places + across[:, None]).view(-1))
    there = table >= 0
    pairs = nonzero(there)
    rows = torch.arange(len(places), dtype=torch.int32, device=places.device)
    return (table.index_select(0, pairs), rows.repeat(len(across)).index_select(0, pairs),
            there.view(len(across), -1).sum(1).tolist())


def nonzero(mask: Tensor) -> Tensor:
    """Return the indices of what is True, (P,) int64."""
    if mask.device.type == 'cpu':
        return torch.from_numpy(np.flatnonzero(mask.numpy()))  # eight times as fast as torch's
    return mask.nonzero().view(-1)


def stable_order(rows: Tensor) -> Tensor:
    """Return what sorts (P,) rows of a block, equal ones in the order they have, (P,) int32."""
    if rows.device.type == 'cpu':
        # 16 bits, which hold any row below MAX_PAIRS, are sorted by counting.
        order = np.argsort(rows.numpy().astype(np.uint16), kind='stable')
        return torch.from_numpy(order).int()
    return torch.sort(rows, stable=True).indices.int()
