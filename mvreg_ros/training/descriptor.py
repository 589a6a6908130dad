# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage `features` for the descriptor on cylinder histograms, by a contrast with all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mvreg_ros.features.cylinder_descriptor import CylinderDescriptor
from mvreg_ros.features.cylinder_network import CylinderNetwork
from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.parallel import workers_for
from mvreg_ros.training.config import StageConfig
from mvreg_ros.training.contrast import Contrast, ContrastLoss, others_masked
from mvreg_ros.training.pairs import choice, overlapping_pairs, spread
from mvreg_ros.training.scenes import counted, training_scenes, TrainingScene
from mvreg_ros.training.stage import Stage
from mvreg_ros.training.surroundings import Surroundings, SurroundingsFiles
from mvreg_ros.training.validation import matching_figures, RIGHT
from mvreg_ros.types import InputError
from mvreg_ros.weights.files import save_weights
import numpy as np
from scipy.spatial import cKDTree
import torch
from torch import Tensor

# So many pairs without an anchor one after the other are no chance.
DRAWS = 100


@dataclass(frozen=True)
class DescriptorStageConfig(StageConfig):
    """
    The settings of the stage.

    network: its phi is trained. overlap: least share of a pair. anchors: of a pair. positive,
    negative: voxels, within which a keypoint of the other fragment is the same, and beyond which
    it is another. normals: least cosine between the normals of the same keypoint. temperature: of
    the contrast at the beginning. validation_pairs: at most.
    """

    network: LmpcrConfig = field(default_factory=lambda: LmpcrConfig(features='cylinder'))
    overlap: float = 0.1
    anchors: int = 1024
    positive: float = 2.0
    negative: float = 8.0
    normals: float = 0.5
    temperature: float = 0.07
    validation_pairs: int = 60

    def __post_init__(self) -> None:
        """Check that nothing is asked for that is learned on a phi that is ready."""
        if self.network.cylinder.context:
            raise ValueError('network.cylinder.context: is what descriptor context learns, later')


class DescriptorStage(Stage):
    """Learns to tell the keypoint of another fragment that is the same from all the others."""

    Config = DescriptorStageConfig
    figure = 'mutual_inlier_ratio'

    def __init__(
        self, config: DescriptorStageConfig, train: list[TrainingScene],
        validation: list[TrainingScene], folder: Path,
    ) -> None:
        """Compute the inputs that are not yet in the folder, and begin with their spread."""
        super().__init__()
        self.config = config
        self.scenes = train
        network = config.network
        self.phi = CylinderNetwork(network.cylinder)
        self.loss = ContrastLoss(config.temperature)
        self.files = SurroundingsFiles(folder, network.cylinder, network.voxel_size)
        self.files.compute(train, workers_for(torch.device('cpu')))
        self.train_pairs = overlapping_pairs(train, network.voxel_size, config.overlap)
        self.validation_pairs = spread(
            overlapping_pairs(validation, network.voxel_size, config.overlap),
            config.validation_pairs)
        inputs = torch.cat([self.files.read(scene, 0).inputs[::4].float() for scene in train])
        if min(inputs.shape) < network.cylinder.out_channels:
            raise InputError(
                f'{len(inputs)} keypoints with {inputs.shape[1]} inputs each are too few for '
                f'{network.cylinder.out_channels} network.cylinder.out_channels: give more '
                'scenes, or set less')
        self.phi.begin_with(inputs)

    @classmethod
    def build(cls, config: DescriptorStageConfig, folder: Path) -> DescriptorStage:
        """Read the scenes; see `Stage`."""
        return cls(config, *training_scenes(config.data), folder)

    def draw(self, step: int, generator: torch.Generator) -> Contrast:
        """Return the anchors of a pair, in either order; see `Stage`."""
        for _ in range(DRAWS):
            pair = self.train_pairs[choice(len(self.train_pairs), generator)]
            order = (pair.i, pair.j) if choice(2, generator) else (pair.j, pair.i)
            i, j = (self.files.read(pair.scene, k) for k in order)
            contrast = self.contrast(i, j, generator)
            if len(contrast.anchors):
                return contrast
        raise InputError(
            f'in {DRAWS} pairs no keypoint was found again: set positive higher or normals lower, '
            'or give scenes with larger fragments')

    def contrast(
        self, i: Surroundings, j: Surroundings, generator: torch.Generator
    ) -> Contrast:
        """Return keypoints of i that j has too, at random, and all keypoints of j."""
        config, voxel_size = self.config, self.config.network.voxel_size
        radius = config.positive * voxel_size
        distance, nearest = cKDTree(j.world.numpy()).query(
            i.world.numpy(), distance_upper_bound=radius)
        rows = torch.from_numpy(np.flatnonzero(distance < radius))
        partners = torch.from_numpy(nearest)[rows]
        # Two sides of one thing lie that near, too.
        alike = (i.normals[rows] * j.normals[partners]).sum(1) > config.normals
        rows, partners = rows[alike], partners[alike]
        some = torch.randperm(len(rows), generator=generator)[:config.anchors]
        rows, partners = rows[some], partners[some]
        return Contrast(
            i.inputs[rows], j.inputs, partners,
            others_masked(j.world, partners, config.negative * voxel_size))

    def forward(self, batch: Contrast) -> dict[str, Tensor]:
        """Return the loss of the contrast."""
        return {'loss': self.loss(self.phi, batch)}

    def validate(self) -> dict[str, float]:
        """Return the shares of right matches of the pipeline's descriptor."""
        voxel_size = self.config.network.voxel_size
        descriptor = CylinderDescriptor(self.phi, voxel_size, self.device)
        return matching_figures(
            descriptor, lambda fragment: fragment, self.validation_pairs,
            RIGHT * voxel_size / LmpcrConfig.voxel_size)

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write the weights of phi."""
        tensors = {f'phi.{name}': tensor for name, tensor in self.phi.state_dict().items()}
        save_weights(path, tensors, {**provenance, 'config': self.config.network.to_json()})

    def provenance(self) -> dict[str, str]:
        """Return the numbers of scenes and fragments."""
        return counted(self.scenes)
