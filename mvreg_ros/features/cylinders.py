# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Histograms of the surroundings in cylinder coordinates about the normal: rotation changes nothing.

Around each keypoint space is divided by distance from the axis, the normal, and by height along
it. Each bin holds how many points fall in, how their normals stand, and how they are spread about
the axis: the magnitudes of the angular harmonics, and their phases relative to those of the next
bin, since the phase itself depends on an arbitrary zero.
"""

from __future__ import annotations

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.features import native_operators
from mvreg_ros.features.neighbors import Neighbors, radius_neighbors
from mvreg_ros.native import dispatch
import torch
from torch import Tensor

RADIAL, HEIGHT = 5, 5
BINS = RADIAL * HEIGHT
HARMONICS = 3
# The lowest and highest bin take what is beyond this share of the radius: few points are there.
HALF_HEIGHT = 0.8
PAIRS = 65_536  # of keypoint and neighbour that are computed at a time
# For each bin three real channels and the harmonics, for each pair of neighbouring bins the phases
# of two harmonics, and the number of points.
PHASES = 2
CHANNELS = 3 + 2 * HARMONICS
WIDTH = (3 + HARMONICS) * BINS + 4 * PHASES * (BINS - RADIAL) + 1


def cylinder_histograms(
    queries: Tensor, normals: Tensor, points: Tensor, point_normals: Tensor, radius: float
) -> Tensor:
    """
    Return what surrounds each query: (Q, WIDTH) float32, the same in every frame.

    queries: (Q, 3), points: (N, 3), metres; normals: (Q, 3), point_normals: (N, 3), unit. Memory
    is bounded by the neighbours found.
    """
    near = radius_neighbors(queries, points, radius)
    frames = tangent_frames(normals)
    oriented = torch.cat([points, point_normals], 1)
    if dispatch.serves(queries, frames, oriented):
        sums = native_operators.cylinder_moments(
            queries, frames, near, oriented, radius, (BINS, CHANNELS))
    else:
        sums = cylinder_moments(queries, frames, near, oriented, radius)
    return invariants(sums)


def tangent_frames(normals: Tensor) -> Tensor:
    """Return (Q, 3, 3) whose rows are two tangents and the normal."""
    helper = torch.zeros_like(normals)
    helper[torch.arange(len(normals)), normals.abs().argmin(1)] = 1
    first = torch.nn.functional.normalize(torch.linalg.cross(normals, helper), dim=1)
    return torch.stack([first, torch.linalg.cross(normals, first), normals], 1)


def cylinder_moments(
    queries: Tensor, frames: Tensor, near: Neighbors, points: Tensor, radius: float
) -> Tensor:
    """
    Return (Q, BINS, CHANNELS): the moments of the neighbours of each query.

    queries: (Q, 3); frames: (Q, 3, 3); points: (N, 6), with their normals.
    """
    columns = points.T.contiguous()
    # Queries with about as many neighbours go together, so that few places stay empty.
    counts, order = torch.sort(near.counts)
    starts = (near.counts.cumsum(0) - near.counts)[order]
    sums = columns.new_empty(len(queries), BINS, CHANNELS)
    begin = 0
    while begin < len(queries):
        raise_if_cancelled()
        # Each of the queries takes as many places as the last of them has neighbours.
        places = counts[begin:] * torch.arange(1, 1 + len(counts) - begin, device=counts.device)
        end = begin + max(1, int(torch.searchsorted(places, PAIRS, right=True)))
        rows = order[begin:end]
        index, mask = padded(near.index, starts[begin:end], counts[begin:end])
        around = columns.index_select(1, index.flatten()).unflatten(1, index.shape)
        offset = (around[:3] - queries[rows].T[..., None]) / radius
        frame = frames[rows]
        sums[rows] = moments(
            frame @ offset.transpose(0, 1), frame @ around[3:].transpose(0, 1), mask)
        begin = end
    return sums


def padded(index: Tensor, starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return `counts` entries of the index from each of `starts` on, (q, K), and which are."""
    column = torch.arange(max(1, int(counts.max())), device=counts.device)
    mask = column < counts[:, None]
    place = torch.where(mask, starts[:, None] + column, 0)
    return (index[place] if len(index) else place), mask


def moments(offset: Tensor, normal: Tensor, mask: Tensor) -> Tensor:
    """
    Return (q, BINS, CHANNELS): sums over the neighbours in each bin.

    offset, normal: (q, 3, K) in tangent frames, offsets in radii; mask: (q, K). The channels: one,
    the normal along the axis and away from it, then cosine and sine of the harmonics.
    """
    x, y, height = offset.unbind(1)
    rho = (x * x + y * y).sqrt()
    scale = 1 / rho.clamp(min=1e-6)
    c, s = x * scale, y * scale
    away = normal[:, 0] * c + normal[:, 1] * s
    channels = [torch.ones_like(c), normal[:, 2], away, c, s]
    c_m, s_m = c, s
    for _ in range(HARMONICS - 1):
        c_m, s_m = c_m * c - s_m * s, s_m * c + c_m * s
        channels += [c_m, s_m]
    radial = tents(rho * RADIAL - 0.5, RADIAL) * mask
    along = tents((height / HALF_HEIGHT + 1) * (HEIGHT / 2) - 0.5, HEIGHT)
    weights = (radial[:, None] * along).flatten(0, 1)
    # The order in memory that this product is fastest with.
    return weights.transpose(0, 1) @ torch.stack(channels).permute(1, 2, 0).contiguous()


def tents(position: Tensor, count: int) -> Tensor:
    """Return (count, q, K) linear weights of the bins that positions (q, K) lie between."""
    centres = torch.arange(count, device=position.device)[:, None, None]
    apart = position.clamp(0, count - 1) - centres
    return apart.abs_().neg_().add_(1).clamp_(min=0)


def invariants(sums: Tensor) -> Tensor:
    """Return (Q, WIDTH) of the sums (Q, BINS, CHANNELS), roots taken as of histograms."""
    total = sums[:, :, 0].sum(1).clamp(min=1)[:, None]
    share = sums / total[:, :, None]
    harmonics = torch.complex(share[..., 3::2].contiguous(), share[..., 4::2].contiguous())
    grid = harmonics.unflatten(1, (RADIAL, HEIGHT))[..., :PHASES]
    relative = torch.cat([
        (grid[:, 1:] * grid[:, :-1].conj()).flatten(1),
        (grid[:, :, 1:] * grid[:, :, :-1].conj()).flatten(1),
    ], 1)
    # The magnitude's fourth root, as that of a product of two roots; the phase stays.
    relative = relative / relative.abs().clamp(min=1e-9) ** 0.75
    return torch.cat([
        share[:, :, 0].sqrt(), signed_root(share[:, :, 1]), signed_root(share[:, :, 2]),
        harmonics.abs().sqrt().flatten(1), relative.real, relative.imag, total.log() / 5,
    ], 1)


def signed_root(x: Tensor) -> Tensor:
    """Return the root of the magnitude, with the sign."""
    return x.sign() * x.abs().sqrt()
