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


def covariances(queries: Tensor, points: Tensor, near: Neighbors) -> Tensor:
    """Do what `normals.covariances` does."""
    queries, points = queries.contiguous(), points.contiguous()
    starts = (near.counts.cumsum(0) - near.counts).tolist()
    result = torch.empty(len(queries), 3, 3)
    run('covariances', [
        (queries[first:].data_ptr(), near.counts[first:].data_ptr(), last - first,
         near.index[starts[first]:].data_ptr(), points.data_ptr(), result[first:].data_ptr())
        for first, last in pieces(len(queries), QUERIES)])
    return result


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


def simplified_histograms(points: Tensor, near: Neighbors, edges: Tensor, width: int) -> Tensor:
    """Do what `fpfh.simplified_histograms` does; points: (N, 6), with their normals."""
    return over_neighbors('simplified_histograms', points.contiguous(), near, edges, width)


def weighted_histograms(histograms: Tensor, near: Neighbors, edges: Tensor) -> Tensor:
    """Do what `fpfh.weighted_histograms` does."""
    return over_neighbors(
        'weighted_histograms', histograms.contiguous(), near, edges, histograms.shape[2])


def over_neighbors(
    name: str, data: Tensor, near: Neighbors, edges: Tensor, width: int
) -> Tensor:
    """Return (R, N, width) of the neighbours of each point below each of the R edges."""
    count = len(near.counts)
    starts = (near.counts.cumsum(0) - near.counts).tolist()
    result = torch.empty(len(edges), count, width)
    run(name, [
        (data.data_ptr(), count, first, last - first, near.counts[first:].data_ptr(),
         near.index[starts[first]:].data_ptr(), near.distance[starts[first]:].data_ptr(),
         edges.data_ptr(), len(edges), result.data_ptr())
        for first, last in pieces(count, QUERIES)])
    return result
