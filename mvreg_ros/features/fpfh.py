# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Fast point feature histograms (Rusu, ICRA 2009) at several radii, in torch.

The histograms are those of Open3D: 11 bins for each of three angles, each scaled to 100.
"""

from __future__ import annotations

import math

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.features import native_operators
from mvreg_ros.features.neighbors import Neighbors, radius_neighbors
from mvreg_ros.native import dispatch
import torch
from torch import Tensor

BINS = 11
WIDTH = 3 * BINS
CHUNK = 50_000  # pairs whose angles are computed at a time


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Return the cross products of (3, M) columns: three times as fast as along rows."""
    return torch.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def pair_features(p1: Tensor, n1: Tensor, p2: Tensor, n2: Tensor) -> Tensor:
    """
    Return the three Darboux angles of point pairs: (3, M), theta in [-pi, pi], then two cosines.

    p1, n1, p2, n2: (3, M) points and unit normals. The point whose normal makes the smaller angle
    with the line between the two is the source, so the order of a pair does not matter. Where the
    frame is undefined all three are 0.
    """
    line = p2 - p1
    line = line / line.square().sum(0).sqrt().clamp(min=1e-12)
    cos1, cos2 = (n1 * line).sum(0), (n2 * line).sum(0)
    swap = cos1.abs() < cos2.abs()
    source, target = torch.where(swap, n2, n1), torch.where(swap, n1, n2)
    line = torch.where(swap, -line, line)
    phi = torch.where(swap, -cos2, cos1)
    v = cross(line, source)
    length = v.square().sum(0).sqrt()
    v = v / length.clamp(min=1e-12)
    theta = torch.atan2((cross(source, v) * target).sum(0), (source * target).sum(0))
    features = torch.stack([theta, (v * target).sum(0), phi])
    return torch.where(length > 1e-12, features, torch.zeros_like(features))


def bins_of(features: Tensor) -> Tensor:
    """Return the histogram bins of pair features: (3, M) int64, each into the 33 columns."""
    theta, *cosines = features.unbind(0)
    unit = torch.stack([theta / (2 * math.pi) + 0.5, *((c + 1) / 2 for c in cosines)])
    bins = torch.floor(BINS * unit).clamp_(0, BINS - 1).to(torch.int64)
    return bins + torch.tensor([[0], [BINS], [2 * BINS]], device=features.device)


def simplified_histograms(
    points: Tensor, normals: Tensor, near: Neighbors, radii: tuple[float, ...]
) -> Tensor:
    """Return the SPFH of each point at each radius: (R, N, 33), each third summing to 100."""
    count, query, width = len(points), near.query, WIDTH
    edges = torch.tensor(radii, device=points.device)
    oriented = torch.cat([points, normals], 1).T.contiguous()
    counts = torch.zeros(len(radii) * count * width, dtype=torch.int32, device=points.device)
    # Each pair once: its angles count for both of its points. Integer sums do not depend on order.
    once = ((near.index > query) & (near.distance > 0)).nonzero()[:, 0]
    for rows in once.split(CHUNK):
        raise_if_cancelled()
        a, b = query.index_select(0, rows), near.index.index_select(0, rows)
        source, target = oriented.index_select(1, a), oriented.index_select(1, b)
        bins = bins_of(pair_features(source[:3], source[3:], target[:3], target[3:]))
        shell = torch.searchsorted(edges, near.distance.index_select(0, rows), right=True) * count
        cells = torch.cat([(shell + a) * width + bins, (shell + b) * width + bins]).reshape(-1)
        counts.scatter_add_(0, cells, torch.ones_like(cells, dtype=torch.int32))
    histograms = counts.reshape(len(radii), count, 3, BINS).cumsum(0).to(points.dtype)
    total = histograms.sum(3, keepdim=True).clamp(min=1)
    return (100 * histograms / total).reshape(len(radii), count, width)


def weighted_histograms(simple: Tensor, near: Neighbors, radii: tuple[float, ...]) -> Tensor:
    """Return (R, N, 33): SPFH around each point, by the inverse squares of their distances."""
    result = []
    for radius, histograms in zip(radii, simple, strict=True):
        ring = near.within(radius)
        weight = torch.where(ring.distance > 0, ring.distance**-2, torch.zeros_like(ring.distance))
        offsets = torch.cat([ring.counts.new_zeros(1), ring.counts.cumsum(0)])
        result.append(torch.nn.functional.embedding_bag(
            ring.index, histograms, offsets, mode='sum', per_sample_weights=weight,
            include_last_offset=True))
    return torch.stack(result)


def fpfh(points: Tensor, normals: Tensor, radii: tuple[float, ...]) -> Tensor:
    """
    Return the FPFH of every point at every radius: (R, N, 33).

    points: (N, 3) metres; normals: (N, 3) unit; radii: ascending, metres. As
    `open3d.pipelines.registration.compute_fpfh_feature` with an unlimited radius search.
    """
    near = radius_neighbors(points, points, radii[-1])
    if dispatch.serves(points, normals):
        edges = torch.tensor(radii, device=points.device)
        simple = native_operators.simplified_histograms(
            torch.cat([points, normals], 1), near, edges, WIDTH)
        around = native_operators.weighted_histograms(simple, near, edges)
    else:
        simple = simplified_histograms(points, normals, near, radii)
        around = weighted_histograms(simple, near, radii)
    around = around.unflatten(2, (3, BINS))
    around = 100 * around / around.sum(3, keepdim=True).clamp(min=1e-12)
    return around.flatten(2) + simple


def root_fpfh(points: Tensor, normals: Tensor, radii: tuple[float, ...]) -> Tensor:
    """
    Return the square roots of the FPFH at all radii, scaled to unit length: (N, 33 R).

    Roots turn the Euclidean distance of histograms into Hellinger's, which the many points of the
    large bins dominate less.
    """
    # Each third of a histogram sums to 200, or to 0 for a point without neighbours.
    roots = fpfh(points, normals, radii).sqrt().permute(1, 0, 2).flatten(1)
    return torch.nn.functional.normalize(roots, dim=1)
