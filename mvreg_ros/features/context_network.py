# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network that looks at a descriptor together with those of the keypoints around it."""

from __future__ import annotations

from collections.abc import Sequence

from mvreg_ros.features.neighbors import Neighbors, radius_neighbors
import torch
from torch import nn, Tensor
from torch.nn.functional import embedding_bag, normalize

# How much the similarity of those around counts beside a keypoint's at the beginning.
SURROUNDINGS = 0.5
# The logarithm of how many keypoints are around one, roughly; it keeps the inputs small.
USUAL = 4.0


class ContextNetwork(nn.Module):
    """
    A descriptor and the mean of those around it, and what a small network adds to both.

    Where the keypoints around differ in the other fragment, at its border and where it is small,
    the descriptor alone is better: how many they are, and how alike, tells the network.
    """

    def __init__(
        self, channels: int, radii: Sequence[float], hidden: Sequence[int], dropout: float
    ) -> None:
        """
        Build a network for descriptors of so many channels, on means within some radii.

        radii: voxels, ascending. hidden: channels of the layers. dropout: share of the inputs that
        training leaves out.
        """
        super().__init__()
        self.channels, self.radii = channels, tuple(radii)
        width = channels * (1 + len(radii)) + len(radii)
        self.dropout = nn.Dropout(dropout)
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.LayerNorm(size), nn.GELU()]
            width = size
        self.mlp = nn.Sequential(*layers)
        self.out = nn.Linear(width, 2 * channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def described(self, points: Tensor, descriptors: Tensor, voxel_size: float) -> Tensor:
        """Return descriptors (N, 2 * channels) of unit length, see `inputs`."""
        found: Tensor = self(self.inputs(points, descriptors, voxel_size))
        return found

    def inputs(self, points: Tensor, descriptors: Tensor, voxel_size: float) -> Tensor:
        """
        Return what the network looks at (N, in_channels).

        points: (N, 3) of all keypoints of a fragment, metres. descriptors: (N, channels), of unit
        length. voxel_size: metres.
        """
        near = radius_neighbors(points, points, self.radii[-1] * voxel_size)
        rings = [near.within(radius * voxel_size) for radius in self.radii[:-1]] + [near]
        means = [mean_of(descriptors, ring) for ring in rings]
        counts = torch.stack([ring.counts for ring in rings], 1)
        # So that all numbers are about as large.
        scale = self.channels**0.5
        return torch.cat([scale * torch.cat([descriptors, *means], 1), counts.log1p() - USUAL], 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return descriptors (N, 2 * channels) of unit length for rows of `inputs`."""
        own, nearest = inputs[:, :2 * self.channels].split(self.channels, 1)
        both = torch.cat([normalize(own, dim=1), SURROUNDINGS**0.5 * normalize(nearest, dim=1)], 1)
        return normalize(both + self.out(self.mlp(self.dropout(inputs))), dim=1)


def mean_of(descriptors: Tensor, near: Neighbors) -> Tensor:
    """Return the mean (N, D) of the descriptors of the neighbours of each keypoint."""
    begin = near.counts.cumsum(0) - near.counts
    return embedding_bag(near.index, descriptors, begin, mode='mean')
