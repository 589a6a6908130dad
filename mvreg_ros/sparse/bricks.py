# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Occupied voxels in small dense bricks, where a neighbour is an addition away."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from mvreg_ros.sparse.coordinates import interleave, neighbors
import torch
from torch import Tensor

# Cells along the edge of a brick, 2^LOG_SIDE; a kernel reaches no further than into the next one.
LOG_SIDE = 3
SIDE = 2**LOG_SIDE
# Bricks that are written out at the same time, each with the cells around it.
MAX_BRICKS = 1024


class Bricks:
    """
    Bricks of SIDE^3 cells wherever there is a voxel.

    A value of every cell of every brick takes 2 kB for each, in which a surface has 40 to 60
    voxels; with the cells around them only MAX_BRICKS are written out at a time.
    """

    def __init__(self, keys: Tensor) -> None:
        """Take the keys (N,) of the cells that hold the voxels, ascending."""
        self.count = len(keys)
        self._corners, bricks = torch.unique_consecutive(
            keys >> 3 * LOG_SIDE, return_inverse=True)
        self._cells = bricks * SIDE**3 + (keys & SIDE**3 - 1)
        wanted = neighbors(self._corners)
        found = torch.searchsorted(self._corners, wanted).clamp_(max=len(self._corners) - 1)
        # (bricks, 3, 3, 3): the first cell of each; one more brick is there, and empty.
        around = torch.where(self._corners[found] == wanted, found, len(self._corners))
        self._around = around.int() * SIDE**3

    def around(
        self, values: Tensor, fill: float, targets: Tensor, reach: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """
        Yield the places of targets among cells, with all cells that lie around the targets.

        values: (N,) or (N, C) of the voxels; the other cells hold `fill`. targets: (M,) keys of
        cells, ascending, each in an occupied brick. Yields the places (R,) int32 of the next R
        targets in cells (L,) or (L, C); what is (x, y, z) further is at place + `linear` of it.
        """
        dense = values.new_full(((len(self._corners) + 1) * SIDE**3, *values.shape[1:]), fill)
        dense.index_copy_(0, self._cells, values)
        place, side, cell = layout(reach, targets.device)
        corners, bricks = torch.unique_consecutive(targets >> 3 * LOG_SIDE, return_inverse=True)
        bricks = torch.searchsorted(self._corners, corners, out_int32=True).index_select(0, bricks)
        for first in range(0, len(self._corners), MAX_BRICKS):
            sources = self._around[first:first + MAX_BRICKS]
            for dim in (3, 2, 1):
                sources = sources.index_select(dim, side)
            cells = dense.index_select(0, sources.add_(cell).view(-1))
            begin, end = torch.searchsorted(
                bricks, bricks.new_tensor([first, first + MAX_BRICKS])).tolist()
            yield (
                place.index_select(0, targets[begin:end] & SIDE**3 - 1)
                + (bricks[begin:end] - first) * (SIDE + 2 * reach)**3, cells)


@lru_cache
def layout(reach: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """
    Return how a brick lies among the cells around it.

    The places of its cells (SIDE^3,) in the order of their keys; along an axis, in which of three
    bricks a cell lies (edge,); and which cell of that brick it is (edge, edge, edge).
    """
    inside = grid(torch.arange(SIDE, device=device))
    place = torch.empty(SIDE**3, dtype=torch.int32, device=device)
    place[interleave(inside)] = linear(inside + reach, reach).int()
    axis = torch.arange(-reach, SIDE + reach, device=device)
    return place, (axis >> LOG_SIDE) + 1, interleave(grid(axis & SIDE - 1)).int()


def grid(axis: Tensor) -> Tensor:
    """Return (x, y, z) for all z, y and x of an axis, (n, n, n, 3)."""
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing='ij')[::-1], -1)


def linear(xyz: Tensor, reach: int) -> Tensor:
    """Return how far apart two cells of `Bricks.around` are that differ by (..., 3), (...)."""
    edge = SIDE + 2 * reach
    return (xyz[..., 2] * edge + xyz[..., 1]) * edge + xyz[..., 0]
