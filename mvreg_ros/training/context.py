# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage `features` for what a descriptor makes of those around it, on a phi that is ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import json
from pathlib import Path

from mvreg_ros.features.cylinder_descriptor import CylinderDescriptor
from mvreg_ros.features.cylinder_network import CylinderNetwork
from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.pairwise.matching import in_context
from mvreg_ros.parallel import workers_for
from mvreg_ros.training.config import StageConfig
from mvreg_ros.training.contrast import Contrast, ContrastLoss, others_masked
from mvreg_ros.training.disturbance import DISTURBANCE
from mvreg_ros.training.feature_files import FeatureFiles, Keypoints
from mvreg_ros.training.foundation import cache_folder, Foundation, read_foundation
from mvreg_ros.training.pairs import choice, overlapping_pairs, spread, true_matches
from mvreg_ros.training.scenes import counted, training_scenes, TrainingScene
from mvreg_ros.training.stage import Stage
from mvreg_ros.training.validation import matching_figures, RIGHT
from mvreg_ros.types import InputError
from mvreg_ros.weights.files import save_weights
import torch
from torch import Tensor

# Of a fragment that is cut down, the share of keypoints that are left.
LEAST_LEFT, MOST_LEFT = 0.08, 0.5
# So many pairs without an anchor one after the other are no chance.
DRAWS = 100


@dataclass(frozen=True)
class ContextStageConfig(StageConfig):
    """
    The settings of the stage.

    weights: the file that phi is taken from, and all else that the result holds. context: radii,
    voxels, within which those around are averaged. context_hidden: channels of the layers.
    overlap: least share of a pair. cut: share of fragments that are cut down to a ball. anchors:
    of a pair. positive, negative: see `DescriptorStageConfig`. temperature: of the contrast at the
    beginning. validation_pairs: at most.
    """

    weights: str
    context: tuple[float, ...] = (6.0, 12.0)
    context_hidden: tuple[int, ...] = (256, 128)
    overlap: float = 0.05
    cut: float = 0.35
    anchors: int = 512
    positive: float = 2.0
    negative: float = 8.0
    temperature: float = 0.05
    validation_pairs: int = 60

    def __post_init__(self) -> None:
        """Check the radii."""
        if not self.context:
            raise ValueError('context: without radii there is nothing to learn: give some')


class ContextStage(Stage):
    """Learns how far the descriptors around one help to find its keypoint again."""

    Config = ContextStageConfig
    figure = 'mutual_inlier_ratio'

    def __init__(
        self, config: ContextStageConfig, foundation: Foundation, network: LmpcrConfig,
        files: FeatureFiles, train: list[TrainingScene], validation: list[TrainingScene],
    ) -> None:
        """Take scenes that are described by the phi of the foundation; network: of the result."""
        super().__init__()
        self.config, self.network, self.files, self.scenes = config, network, files, train
        self.before, self.weights_digest = foundation.weights, foundation.digest
        self.phi = CylinderNetwork(network.cylinder).requires_grad_(False)
        self.phi.load_state_dict(phi_of(foundation), strict=False)
        assert self.phi.context is not None
        self.context = self.phi.context.requires_grad_(True)
        self.loss = ContrastLoss(config.temperature)
        self.pairs = overlapping_pairs(train, network.voxel_size, config.overlap)
        self.validation_pairs = spread(
            overlapping_pairs(validation, network.voxel_size, config.overlap),
            config.validation_pairs)

    @classmethod
    def build(cls, config: ContextStageConfig, folder: Path) -> ContextStage:
        """Describe the scenes where that is not done yet; see `Stage`."""
        train, validation = training_scenes(config.data)
        foundation = read_foundation(config.weights, ('phi',), 'train the features first')
        before = foundation.weights.config
        if before.features != 'cylinder' or before.cylinder.context:
            raise InputError(f'{config.weights}: take weights of descriptor cylinder, as they '
                             'were before this stage')
        network = replace(before, cylinder=replace(
            before.cylinder, context=config.context, context_hidden=config.context_hidden))
        phi = CylinderNetwork(before.cylinder)
        phi.load_state_dict(phi_of(foundation))
        descriptor = CylinderDescriptor(phi, before.voxel_size, torch.device('cpu'))
        files = FeatureFiles(cache_folder(folder, 'features', foundation.digest, DISTURBANCE))
        files.compute(
            train, descriptor, before.voxel_size, True, workers_for(torch.device('cpu')))
        return cls(config, foundation, network, files, train, validation)

    def draw(self, step: int, generator: torch.Generator) -> Contrast:
        """Return the anchors of a pair, in either order; see `Stage`."""
        for _ in range(DRAWS):
            pair = self.pairs[choice(len(self.pairs), generator)]
            order = (pair.i, pair.j) if choice(2, generator) else (pair.j, pair.i)
            i, j = (self.keypoints(pair.scene, k, generator) for k in order)
            contrast = self.contrast(i, j, generator)
            if len(contrast.anchors):
                return contrast
        raise InputError(f'in {DRAWS} pairs no keypoint was found again: set positive higher, or '
                         'give scenes with larger fragments')

    def keypoints(self, scene: TrainingScene, k: int, generator: torch.Generator) -> Keypoints:
        """Return the keypoints of a fragment, points in the world, of some those in a ball."""
        found = self.files.read(scene, k)
        T = found.T_world_points
        points = (found.points.double() @ T[:3, :3].T + T[:3, 3]).float()
        rows = torch.arange(len(points))
        if torch.rand((), generator=generator) < self.config.cut:
            left = LEAST_LEFT + (MOST_LEFT - LEAST_LEFT) * float(
                torch.rand((), generator=generator))
            middle = points[choice(len(points), generator)]
            rows = (points - middle).norm(dim=1).argsort()[:int(left * len(points)) + 1]
        return replace(found, points=points[rows], descriptors=found.descriptors[rows])

    def contrast(self, i: Keypoints, j: Keypoints, generator: torch.Generator) -> Contrast:
        """Return keypoints of i that j has too, at random, and all keypoints of j."""
        config, voxel_size = self.config, self.network.voxel_size
        matches = true_matches(
            i.points.numpy(), j.points.numpy(), config.positive * voxel_size)
        chosen = torch.randperm(len(matches), generator=generator)[:config.anchors]
        rows, partners = matches[chosen].T
        anchors, candidates = (
            self.context.inputs(k.points, k.descriptors, voxel_size) for k in (i, j))
        return Contrast(
            anchors[rows], candidates, partners,
            others_masked(j.points, partners, config.negative * voxel_size))

    def forward(self, batch: Contrast) -> dict[str, Tensor]:
        """Return the loss of the contrast."""
        return {'loss': self.loss(self.context, batch)}

    def validate(self) -> dict[str, float]:
        """Return the shares of right matches of the pipeline's descriptor."""
        voxel_size = self.network.voxel_size
        descriptor = CylinderDescriptor(self.phi, voxel_size, self.device)
        return matching_figures(
            lambda fragment: in_context(descriptor(fragment)), lambda fragment: fragment,
            self.validation_pairs,
            RIGHT * voxel_size / LmpcrConfig.voxel_size)

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write what was before, with the new part of phi."""
        tensors = dict(self.before.tensors)
        tensors |= {f'phi.{name}': tensor for name, tensor in self.phi.state_dict().items()}
        save_weights(path, tensors, {
            **provenance, 'before': json.dumps(self.before.metadata),
            'config': self.network.to_json()})

    def provenance(self) -> dict[str, str]:
        """Return the numbers of scenes and fragments."""
        return counted(self.scenes)


def phi_of(foundation: Foundation) -> dict[str, Tensor]:
    """Return the weights of phi under its own names."""
    return {name.removeprefix('phi.'): tensor
            for name, tensor in foundation.weights.tensors.items() if name.startswith('phi.')}
