# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Occupied voxels in small dense bricks, where a neighbour is an addition away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from mvreg_ros.sparse.coordinates import BITS, offset
import torch
from torch import Tensor

# Cells along the edge of a brick; a kernel reaches no further than into the next one.
SIDE = 8
# Bricks that are written out at the same time, each with the cells around it.
MAX_BRICKS = 1024


class Bricks:
    """
    Cells of `step` voxels, in bricks of SIDE^3, wherever a brick holds one of the voxels.

    keys: (N,) packed voxels, multiples of step, which is a power of two.
    """

    def __init__(self, keys: Tensor, step: int) -> None:
        """Find the bricks and what lies around each."""
        self._step = step
        corners, self._cells = self._split(keys)
        self._corners, self._bricks = torch.unique(corners, return_inverse=True)
        sides = [offset(x, y, z) * SIDE * step for z, y, x in product((-1, 0, 1), repeat=3)]
        wanted = self._corners[:, None] + torch.tensor(sides, device=keys.device)
        found = torch.searchsorted(self._corners, wanted).clamp_(max=len(self._corners) - 1)
        # (bricks, 27); the number of bricks stands for one that is empty.
        self._around = torch.where(self._corners[found] == wanted, found, len(self._corners))

    def _split(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return the corners of the bricks that hold the voxels, and x, y, z in them, (3, N)."""
        inside = SIDE * self._step - 1
        fields = torch.stack([keys, keys >> BITS, keys >> 2 * BITS]) & inside
        return keys & ~offset(inside, inside, inside), fields >> self._step.bit_length() - 1

    def around(
        self, values: Tensor, fill: float, targets: Tensor, reach: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """
        Yield the cells that hold targets with all that lies up to `reach` cells around them.

        values: (N,) or (N, C) of the voxels; the other cells hold `fill`. targets: (M,) packed,
        each in an occupied brick. Yields a brick's targets after another's: rows (R,) int64 of
        targets; cells (L,) or (L, C); places (R,) int32 of the targets in cells. The cell
        (x, y, z) further is at place + (z * edge + y) * edge + x, edge = SIDE + 2 * reach.
        """
        dense = values.new_full(((len(self._corners) + 1) * SIDE**3, *values.shape[1:]), fill)
        x, y, z = self._cells
        dense.index_copy_(0, ((self._bricks * SIDE + z) * SIDE + y) * SIDE + x, values)

        corners, cells = self._split(targets)
        bricks, rows = torch.sort(torch.searchsorted(self._corners, corners), stable=True)
        edge = SIDE + 2 * reach
        x, y, z = cells[:, rows] + reach
        places = (z * edge + y) * edge + x
        axis = torch.arange(-reach, SIDE + reach, device=dense.device)
        side, cell = cube(axis // SIDE + 1, 3), cube(axis % SIDE, SIDE)
        for first in range(0, len(self._corners), MAX_BRICKS):
            sources = self._around[first:first + MAX_BRICKS].index_select(1, side)
            sources.mul_(SIDE**3).add_(cell)
            begin, end = torch.searchsorted(
                bricks, bricks.new_tensor([first, first + MAX_BRICKS])).tolist()
            yield (
                rows[begin:end], dense.index_select(0, sources.view(-1)),
                (places[begin:end] + (bricks[begin:end] - first) * edge**3).int(),
            )


def cube(axis: Tensor, base: int) -> Tensor:
    """Return (z * base + y) * base + x for all z, y and x of an axis, x fastest."""
    return ((axis[:, None, None] * base + axis[:, None]) * base + axis).flatten()
