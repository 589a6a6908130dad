# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The search for neighbours and the sums over them by the native kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvreg_ros.native.dispatch import pieces, run
import torch
from torch import Tensor

if TYPE_CHECKING:
    from mvreg_ros.features.neighbors import Neighbors

# Queries whose neighbours are summed by one thread.
QUERIES = 256


def search_runs(
    queries: Tensor, points: Tensor, starts: Tensor, lengths: Tensor, radius: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `neighbors.search_runs` does; distances to the last bit of the root."""
    queries, points = queries.contiguous(), points.contiguous()
    starts, lengths = starts.contiguous(), lengths.contiguous()
    counts = torch.empty(len(queries), dtype=torch.int64)
    candidates = int(lengths.sum())
    row, distance = torch.empty(candidates, dtype=torch.int64), torch.empty(candidates)
    run('search_runs', [(
        queries.data_ptr(), len(queries), starts.data_ptr(), lengths.data_ptr(), starts.shape[1],
        points.data_ptr(), radius, counts.data_ptr(), row.data_ptr(), distance.data_ptr())])
    found = int(counts.sum())
    return counts, row[:found].clone(), distance[:found].clone()


def cylinder_moments(
    queries: Tensor, frames: Tensor, near: Neighbors, points: Tensor, radius: float,
    shape: tuple[int, int],
) -> Tensor:
    """Do what `cylinders.cylinder_moments` does; shape is that of the sums of a query."""
    queries, frames, points = (x.contiguous() for x in (queries, frames, points))
    starts = (near.counts.cumsum(0) - near.counts).tolist()
    sums = torch.empty(len(queries), *shape)
    run('cylinder_moments', [
        (queries[first:].data_ptr(), frames[first:].data_ptr(), near.counts[first:].data_ptr(),
         last - first, near.index[starts[first]:].data_ptr(), points.data_ptr(), radius,
         sums[first:].data_ptr())
        for first, last in pieces(len(queries), QUERIES)])
    return sums
