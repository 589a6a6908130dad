# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The network on the cylinder histograms of a keypoint: phi's feature space as we train it."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.features.context_network import ContextNetwork
from mvreg_ros.features.cylinders import WIDTH
from mvreg_ros.features.fpfh import WIDTH as FPFH_WIDTH
import torch
from torch import nn, Tensor
from torch.nn.functional import normalize

LARGEST_INPUT = 5.0  # deviations from the mean, beyond which an input says nothing more


@dataclass(frozen=True)
class CylinderConfig:
    """
    The sizes of the descriptor; lengths are in voxels.

    keypoint: between keypoints. normal: radius that normals are fitted in. fpfh: radii of the
    FPFH. radii: of the cylinders. thinning: radius over the distance between the points that are
    counted in it. hidden: channels of the layers. out_channels: numbers of a descriptor that are
    learned. fpfh_channels: its further numbers, principal components of the FPFH, which nothing is
    learned about, so that they are as good in the world as in simulation. fpfh_weight: their
    length, that of the learned ones being 1. similarity: cosine between two descriptors below
    which they are hardly of the same keypoint. dropout: share of the inputs that training leaves
    out each time. context: radii within which a keypoint is described with those around it too, ()
    for none. context_hidden: channels of the layers for that. Raises ValueError for a size that is
    not positive, radii of the FPFH or the context that do not ascend, and more channels than the
    FPFH has.
    """

    keypoint: float = 2.0
    normal: float = 4.0
    fpfh: tuple[float, ...] = (6.0, 10.0, 18.0)
    radii: tuple[float, ...] = (18.0, 36.0, 72.0)
    thinning: float = 6.0
    hidden: tuple[int, ...] = (256, 128)
    out_channels: int = 64
    fpfh_channels: int = 32
    fpfh_weight: float = 0.7
    similarity: float = 0.65
    dropout: float = 0.1
    context: tuple[float, ...] = ()
    context_hidden: tuple[int, ...] = (256, 128)

    def __post_init__(self) -> None:
        """Check the sizes, which may come from a file."""
        for size in (
            self.keypoint, self.normal, *self.fpfh, *self.radii, self.thinning, *self.hidden,
            self.out_channels, self.fpfh_channels, self.fpfh_weight, self.similarity,
            *self.context, *self.context_hidden,
        ):
            if not size > 0:
                raise ValueError(f'sizes of the descriptor must be positive: {size!r}')
        if not self.fpfh or list(self.fpfh) != sorted(set(self.fpfh)):
            raise ValueError(f'radii of the FPFH must ascend: {self.fpfh!r}')
        if list(self.context) != sorted(set(self.context)):
            raise ValueError(f'radii of the context must ascend: {self.context!r}')
        if self.fpfh_channels > FPFH_WIDTH * len(self.fpfh):
            raise ValueError(f'fpfh_channels are components of {FPFH_WIDTH * len(self.fpfh)} '
                             f'numbers: {self.fpfh_channels!r}')

    @property
    def in_channels(self) -> int:
        """Return how many numbers describe the surroundings of a keypoint."""
        return FPFH_WIDTH * len(self.fpfh) + WIDTH * len(self.radii)


class CylinderNetwork(nn.Module):
    """A linear map of the inputs plus a small network, so that it starts as good as the inputs."""

    def __init__(self, config: CylinderConfig) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer('mean', torch.zeros(config.in_channels))
        self.register_buffer('deviation', torch.ones(config.in_channels))
        self.whitening: Tensor
        self.register_buffer(
            'whitening', torch.zeros(config.fpfh_channels, FPFH_WIDTH * len(config.fpfh)))
        self.dropout = nn.Dropout(config.dropout)
        self.projection = nn.Linear(config.in_channels, config.out_channels, bias=False)
        layers: list[nn.Module] = []
        width = config.in_channels
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.GELU()]
            width = hidden
        self.mlp = nn.Sequential(*layers)
        self.out = nn.Linear(width, config.out_channels)
        self.context = ContextNetwork(
            config.out_channels + config.fpfh_channels, config.context, config.context_hidden,
            config.dropout) if config.context else None

    @torch.no_grad()
    def begin_with(self, inputs: Tensor) -> None:
        """Take over mean, spread and principal components of inputs (N, in_channels)."""
        self.mean.copy_(inputs.mean(0))
        self.deviation.copy_(inputs.std(0) + 1e-3)
        components = torch.linalg.svd(self.standardized(inputs), full_matrices=False).Vh
        # Scaled so that the network, which begins at zero, soon counts as much.
        self.projection.weight.copy_(components[:self.config.out_channels] / 3)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        variance, axes = torch.linalg.eigh(inputs[:, :self.whitening.shape[1]].T.cov())
        some = slice(-self.config.fpfh_channels, None)
        # Half-way to equal variances: the last components are noise for the most part.
        self.whitening.copy_((axes[:, some] * variance[some].clamp(min=1e-9) ** -0.25).T)

    def standardized(self, inputs: Tensor) -> Tensor:
        """Return the inputs in deviations from their means, none of them very large."""
        return ((inputs - self.mean) / self.deviation).clamp(-LARGEST_INPUT, LARGEST_INPUT)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return descriptors of unit length (N, out_channels + fpfh_channels) of the inputs."""
        x = self.dropout(self.standardized(inputs))
        learned = normalize(self.projection(x) + self.out(self.mlp(x)), dim=1)
        width = self.whitening.shape[1]
        plain = normalize((inputs - self.mean)[:, :width] @ self.whitening.T, dim=1)
        return normalize(torch.cat([learned, self.config.fpfh_weight * plain], 1), dim=1)
