# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage `features` of the paper: FCGF by the hardest-contrastive loss (B.3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mvreg_ros.features.fcgf import ResUNetBN2C
from mvreg_ros.features.fcgf_descriptor import FcgfDescriptor
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.sparse.engine import open_engine
from mvreg_ros.training.config import StageConfig
from mvreg_ros.training.losses import hardest_contrastive
from mvreg_ros.training.objective import ObjectiveConfig
from mvreg_ros.training.pairs import (
    choice,
    overlapping_pairs,
    random_rotation,
    ScenePair,
    spread,
    true_matches,
)
from mvreg_ros.training.scenes import counted, training_scenes, TrainingScene
from mvreg_ros.training.stage import Stage
from mvreg_ros.training.validation import matching_figures, RIGHT
from mvreg_ros.weights.files import save_weights
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class FcgfStageConfig(StageConfig):
    """
    The settings of the stage; the defaults are the paper's.

    network: its phi is trained. pairs: of fragments in a batch. overlap: least share of a pair.
    crop: metres, the radius about a point that both fragments have, beyond which they are cut off,
    0 for none. positives: of a pair. candidates: of each cloud for the hardest negative. jitter:
    of the inputs, its standard deviation. validation_pairs: at most.
    """

    network: LmpcrConfig = field(default_factory=LmpcrConfig)
    pairs: int = 4
    overlap: float = 0.3
    crop: float = 0.0
    positives: int = 1024
    candidates: int = 256
    jitter: float = 0.01
    validation_pairs: int = 100


@dataclass(frozen=True)
class FeaturePair:
    """
    Two fragments, each turned at random and then thinned, and what matches in them.

    scans: (N, 3) and (M, 3) as the network sees them, metres. world: the same points in one frame.
    positives: (P, 2) rows.
    """

    scans: tuple[Tensor, Tensor]
    world: tuple[Tensor, Tensor]
    positives: Tensor


class FcgfStage(Stage):
    """Learns phi from pairs that overlap, with rotations of each fragment by up to 180 degrees."""

    Config = FcgfStageConfig
    figure = 'mutual_inlier_ratio'

    def __init__(
        self, config: FcgfStageConfig, train: list[TrainingScene],
        validation: list[TrainingScene],
    ) -> None:
        """Build the network with random weights, and look for pairs that overlap."""
        super().__init__()
        self.config = config
        self.phi = ResUNetBN2C(config.network.fcgf)
        self.scenes = train
        voxel_size = config.network.voxel_size
        self.labels = ObjectiveConfig.for_voxel_size(voxel_size)
        self.train_pairs = overlapping_pairs(train, voxel_size, config.overlap)
        self.validation_pairs = spread(
            overlapping_pairs(validation, voxel_size, config.overlap), config.validation_pairs)

    @classmethod
    def build(cls, config: FcgfStageConfig, folder: Path) -> FcgfStage:
        """Read the scenes; see `Stage`."""
        return cls(config, *training_scenes(config.data))

    def draw(self, step: int, generator: torch.Generator) -> list[FeaturePair]:
        """Return pairs; see `Stage`."""
        rows = [choice(len(self.train_pairs), generator) for _ in range(self.config.pairs)]
        return [self.feature_pair(self.train_pairs[row], generator) for row in rows]

    def feature_pair(self, pair: ScenePair, generator: torch.Generator) -> FeaturePair:
        """Return the points and labels of a pair."""
        clouds = []
        for k in (pair.i, pair.j):
            T = pair.scene.poses[k]
            clouds.append(pair.scene.fragment(k).points @ T[:3, :3].T + T[:3, 3])
        if self.config.crop:
            common = true_matches(clouds[0], clouds[1], self.labels.safe)
            if len(common):
                center = clouds[0][common[choice(len(common), generator), 0]]
                clouds = [cloud[np.linalg.norm(cloud - center, axis=1) < self.config.crop]
                          for cloud in clouds]
        scans, world = [], []
        for cloud in clouds:
            turned = torch.from_numpy((cloud - cloud.mean(0)) @ random_rotation(generator)).float()
            rows = voxel_down_sample(turned, self.config.network.voxel_size)
            scans.append(turned[rows])
            world.append(cloud[rows.numpy()])
        positives = true_matches(world[0], world[1], self.labels.positive)
        rows = torch.randperm(len(positives), generator=generator)[:self.config.positives]
        i, j = (torch.from_numpy(points).float() for points in world)
        return FeaturePair((scans[0], scans[1]), (i, j), positives[rows])

    def forward(self, batch: list[FeaturePair]) -> dict[str, Tensor]:
        """Return the mean of L_c over the pairs."""
        device = self.device
        descriptors = self.describe([scan.to(device) for pair in batch for scan in pair.scans])
        losses = [
            hardest_contrastive(
                i, j, pair.world[0].to(device), pair.world[1].to(device),
                pair.positives.to(device), self.labels.safe, self.config.candidates)
            for pair, i, j in zip(batch, descriptors[::2], descriptors[1::2], strict=True)]
        return {'loss': torch.stack(losses).mean()}

    def describe(self, scans: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the descriptors of scans, computed as one batch with jittered inputs."""
        coordinates = torch.cat([
            pad(torch.floor(scan / self.config.network.voxel_size).long(), (1, 0), value=k)
            for k, scan in enumerate(scans)])
        occupied = 1 + self.config.jitter * torch.randn(len(coordinates), 1, device=self.device)
        descriptors: Tensor = self.phi(occupied, open_engine('torch', coordinates))
        return descriptors.float().split([len(scan) for scan in scans])

    def validate(self) -> dict[str, float]:
        """Return the shares of right matches on the pairs of validation."""
        voxel_size = self.config.network.voxel_size
        descriptor = FcgfDescriptor(self.phi, voxel_size, self.device)
        return matching_figures(
            descriptor, lambda fragment: fragment, self.validation_pairs,
            RIGHT * voxel_size / LmpcrConfig.voxel_size)

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write the weights of phi."""
        tensors = {f'phi.{name}': tensor for name, tensor in self.phi.state_dict().items()}
        save_weights(path, tensors, {**provenance, 'config': self.config.network.to_json()})

    def networks(self) -> list[nn.Module]:
        """Return phi; see `Stage`."""
        return [self.phi]

    def provenance(self) -> dict[str, str]:
        """Return the numbers of scenes and fragments."""
        return counted(self.scenes)
