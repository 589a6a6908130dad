# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbours within a radius, by a sorted grid, on whatever device the points are on."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.features import native_operators
from mvreg_ros.features.voxels import pack, voxel_coordinates
from mvreg_ros.native import dispatch
import torch
from torch import Tensor


@dataclass(frozen=True)
class Neighbors:
    """
    The neighbours of Q queries among N points, row after row.

    counts: (Q,) int64. index: (M,) int64 into the points, query by query. distance: (M,) metres.
    """

    counts: Tensor
    index: Tensor
    distance: Tensor

    @property
    def query(self) -> Tensor:
        """(M,) int64, the query that each entry belongs to."""
        rows = torch.arange(len(self.counts), device=self.counts.device)
        return torch.repeat_interleave(rows, self.counts)

    def within(self, radius: float) -> Neighbors:
        """Return only the neighbours nearer than `radius`."""
        near = self.distance < radius
        counts = torch.zeros_like(self.counts).index_add_(0, self.query, near.to(torch.int64))
        return Neighbors(counts, self.index[near], self.distance[near])


def radius_neighbors(
    queries: Tensor, points: Tensor, radius: float, chunk: int = 100_000
) -> Neighbors:
    """
    Return all points nearer than `radius` to each query.

    queries: (Q, 3), points: (N, 3), metres. chunk: candidates examined at a time, which bounds the
    memory. A query that is itself one of the points is among its own neighbours.
    """
    count = len(queries)
    cells = voxel_coordinates(torch.cat([queries, points]), radius)
    keys, order = torch.sort(pack(cells[count:]), stable=True)
    # Cells that follow one another in z have consecutive keys: nine runs cover the 27 cells.
    columns = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    steps = torch.tensor([[dx, dy, 0] for dx, dy in columns], device=points.device)
    centre = pack((cells[:count, None] + steps).reshape(-1, 3)).reshape(count, len(columns))
    start = torch.searchsorted(keys, centre - 1)
    length = torch.searchsorted(keys, centre + 1, right=True) - start

    native = dispatch.serves(queries, points)
    search = native_operators.search_runs if native else search_runs
    points = points[order]
    found: list[tuple[Tensor, ...]] = []
    candidates = length.sum(1).cumsum(0)
    begin = 0
    while begin < count:
        raise_if_cancelled()
        done = int(candidates[begin - 1]) if begin else 0
        end = max(begin + 1, int(torch.searchsorted(candidates, done + chunk, right=True)))
        end = min(end, count)
        found.append(search(
            queries[begin:end], points, start[begin:end], length[begin:end], radius))
        begin = end
    counts, row, distance = (torch.cat(part) for part in zip(*found, strict=True))
    return Neighbors(counts, order.index_select(0, row), distance)


def search_runs(
    queries: Tensor, points: Tensor, starts: Tensor, lengths: Tensor, radius: float
) -> tuple[Tensor, Tensor, Tensor]:
    """
    Return how many points are nearer than `radius` to each query, their rows and distances.

    Only those in the runs of a query are looked at: `lengths` (Q, R) rows of points from each of
    `starts` (Q, R) on.
    """
    runs = lengths.flatten()
    run = torch.repeat_interleave(torch.arange(len(runs), device=runs.device), runs)
    first = starts.flatten() - (runs.cumsum(0) - runs)
    row = first.index_select(0, run).add_(torch.arange(len(run), device=run.device))
    query = run // lengths.shape[1]
    offset = points.T.contiguous().index_select(1, row)
    offset = offset - queries.T.contiguous().index_select(1, query)
    distance = offset.square_().sum(0).sqrt_()
    near = (distance < radius).nonzero()[:, 0]
    counts = torch.bincount(query.index_select(0, near), minlength=len(queries))
    return counts, row.index_select(0, near), distance.index_select(0, near)
