# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The network of the paper: phi, psi_init, psi_iter and zeta as one differentiable module.

Points are in metres at the voxel size that the network was trained with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
import json
from typing import Any

from mvreg_ros.features.cylinder_network import CylinderConfig, CylinderNetwork
from mvreg_ros.features.fcgf import FcgfConfig, ResUNetBN2C
from mvreg_ros.multiview.algorithm_1 import (
    Algorithm1Config,
    algorithm_1,
    Gamma,
    PairEstimate,
    Round,
)
from mvreg_ros.pairwise.confidence_block import ConfidenceBlock
from mvreg_ros.pairwise.registration_block import RegistrationBlock
from mvreg_ros.pairwise.soft_matching import SoftNearestNeighbors
from mvreg_ros.sparse.engine import open_engine
import torch
from torch import nn, Tensor
from torch.nn.utils.rnn import pad_sequence

FEATURES = ('fcgf', 'cylinder')
Each = Callable[[Callable[[tuple[int, int]], Tensor], Sequence[tuple[int, int]]], Iterable[Tensor]]


@dataclass(frozen=True)
class LmpcrConfig:
    """
    The sizes of the network; the defaults are the paper's.

    features: what phi is, 'fcgf' or 'cylinder', with its sizes under the same name. voxel_size:
    metres, what it was trained with. points: sampled of each scan. width, clusters: of the
    registration blocks. straight_through: correspondences are hard in the forward pass and soft in
    the backward pass. Raises ValueError for a size that is not positive.
    """

    fcgf: FcgfConfig = field(default_factory=FcgfConfig)
    voxel_size: float = 0.025
    points: int = 2048
    width: int = 128
    clusters: int = 500
    straight_through: bool = True
    features: str = 'fcgf'
    cylinder: CylinderConfig = field(default_factory=CylinderConfig)

    def __post_init__(self) -> None:
        """Check the sizes, which may come from a file."""
        for name in ('voxel_size', 'points', 'width', 'clusters'):
            if not getattr(self, name) > 0:
                raise ValueError(f'{name} must be positive: {getattr(self, name)!r}')
        if self.features not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}: {self.features!r}")

    def to_json(self) -> str:
        """Return the configuration as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> LmpcrConfig:
        """Return the configuration that `to_json` wrote; raises ValueError or TypeError."""
        values = json.loads(text)

        def sizes(name: str) -> dict[str, Any]:
            return {key: tuple(value) if isinstance(value, list) else value
                    for key, value in values.pop(name, {}).items()}

        return cls(fcgf=FcgfConfig(**sizes('fcgf')),
                   cylinder=CylinderConfig(**sizes('cylinder')), **values)


@dataclass(frozen=True)
class LmpcrOutput:
    """
    All that the losses look at.

    descriptors: of each scan, a row for each of its points. gamma: correspondences of all pairs.
    initial: what psi_init makes of them. rounds: of Alg. 1.
    """

    descriptors: list[Tensor]
    gamma: Gamma
    initial: PairEstimate
    rounds: list[Round]


class Lmpcr(nn.Module):
    """Learned multiview registration of point clouds."""

    def __init__(self, config: LmpcrConfig | None = None) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config = config or LmpcrConfig()
        self.phi: ResUNetBN2C | CylinderNetwork = (
            ResUNetBN2C(config.fcgf) if config.features == 'fcgf'
            else CylinderNetwork(config.cylinder))
        self.matching = SoftNearestNeighbors(straight_through=config.straight_through)
        self.psi_init = RegistrationBlock(6, config.width, config.clusters)
        self.psi_iter = RegistrationBlock(8, config.width, config.clusters)
        self.zeta: nn.Module = ConfidenceBlock(config.width)
        self.beta = nn.Parameter(torch.ones(()))  # of Eq. 15: local and global count alike

    def forward(
        self, scans: Sequence[Tensor], config: Algorithm1Config, generator: torch.Generator
    ) -> LmpcrOutput:
        """
        Register two or more scans, (N, 3) each, one point a voxel.

        generator: draws the points that are matched.
        """
        return self.register(scans, self.describe(scans), config, generator)

    def register(
        self, scans: Sequence[Tensor], descriptors: list[Tensor], config: Algorithm1Config,
        generator: torch.Generator,
    ) -> LmpcrOutput:
        """Register scans whose points have descriptors, (N, D) each."""
        rows = [torch.randperm(len(points), generator=generator)[:self.config.points]
                for points in scans]
        gamma = self.correspondences(
            [points[chosen] for points, chosen in zip(scans, rows, strict=True)],
            [f[chosen] for f, chosen in zip(descriptors, rows, strict=True)])
        return LmpcrOutput(descriptors, gamma, *algorithm_1(self, gamma, len(scans), config))

    def describe(self, scans: Sequence[Tensor]) -> list[Tensor]:
        """Return the FCGF descriptors (N, D) of each scan, computed as one batch."""
        coordinates = torch.cat([
            nn.functional.pad(torch.floor(points / self.config.voxel_size).long(), (1, 0), value=k)
            for k, points in enumerate(scans)
        ])
        ones = torch.ones_like(coordinates[:, :1], dtype=scans[0].dtype)
        descriptors = self.phi(ones, open_engine('torch', coordinates))
        return list(descriptors.split([len(points) for points in scans]))

    def correspondences(
        self, points: Sequence[Tensor], descriptors: Sequence[Tensor], each: Each = map
    ) -> Gamma:
        """
        Return Gamma of Eq. 4 for all pairs i < j: points p of i with phi(p, S_j) of Eq. 9.

        points: (N, 3) of each scan, of which at most `config.points` are matched, spread evenly,
        with any of the other; descriptors: (N, D). each: the `map` to use.
        """
        pairs = list(combinations(range(len(points)), 2))
        rows = [evenly(len(scan), self.config.points).to(scan.device) for scan in points]

        def phi(pair: tuple[int, int]) -> Tensor:
            i, j = pair
            return self.matching(descriptors[i][rows[i]], descriptors[j], points[j])

        i, j = torch.tensor(pairs, device=points[0].device).T
        points_i = [points[a][rows[a]] for a, _ in pairs]
        mask = [torch.ones_like(p[:, 0], dtype=torch.bool) for p in points_i]
        return Gamma(i, j, *(pad_sequence(rows, batch_first=True)
                             for rows in (points_i, list(each(phi, pairs)), mask)))


def evenly(count: int, most: int) -> Tensor:
    """Return at most so many of `count` rows, in order, spread evenly over all."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()
