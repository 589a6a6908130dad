# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage `registration`: psi_init, psi_iter and zeta on descriptors that are fixed (B.3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
import json
import math
from pathlib import Path

from mvreg_ros.device import select_device
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.methods.learned import learned_descriptor
from mvreg_ros.multiview.algorithm_1 import distances, estimate, Gamma, PairEstimate, transform
from mvreg_ros.parallel import workers_for
from mvreg_ros.training.config import StageConfig
from mvreg_ros.training.disturbance import DISTURBANCE
from mvreg_ros.training.feature_files import FeatureFiles, Keypoints
from mvreg_ros.training.foundation import (
    cache_folder,
    Foundation,
    read_foundation,
    with_evidence,
)
from mvreg_ros.training.objective import ObjectiveConfig, registration_losses
from mvreg_ros.training.pairs import choice, overlapping_pairs, random_rotation, ScenePair, spread
from mvreg_ros.training.scenes import counted, training_scenes, TrainingScene
from mvreg_ros.training.stage import Stage
from mvreg_ros.training.validation import EstimatedPose, pose_figures
from mvreg_ros.types import FloatArray
from mvreg_ros.weights.files import save_weights
import torch
from torch import nn, Tensor
from torch.nn.utils.rnn import pad_sequence

KEYPOINTS = 5000  # described of each fragment
TURN = math.radians(20)


@dataclass(frozen=True)
class RegistrationStageConfig(StageConfig):
    """
    The settings of the stage; the defaults are the paper's.

    weights: the file that phi is taken from, all else is new. points: of a fragment that are
    matched with all of the other. rough: whether fragments get errors on top, as simulated ones
    need. width, clusters: of the blocks. iterations: of psi_iter, each on what the one before
    aligned. pairs: in a batch. overlap: least share of a pair. others: how many of the pairs are
    taken from all pairs of a scene, however little they overlap. min_inliers: share of right
    matches from which on a pair says something about a pose. late: the step from which on poses
    and their confidence are learnt too. turn_start, turn_steps: fragments are turned by up to 20
    degrees more every `turn_steps` steps from `turn_start` on, at once by any angle where it is 0.
    validation_pairs: at most.
    """

    weights: str
    points: int = 5000
    rough: bool = False
    width: int = 128
    clusters: int = 500
    iterations: int = 2
    pairs: int = 8
    overlap: float = 0.1
    others: float = 0.2
    min_inliers: float = ObjectiveConfig.min_inliers
    late: int = 15000
    turn_start: int = 25000
    turn_steps: int = 5000
    validation_pairs: int = 200

    def max_turn(self, step: int) -> float:
        """Return the largest angle that fragments are turned by, rad."""
        if step < self.turn_start:
            return 0.0
        if not self.turn_steps:
            return 2 * math.pi
        return min(2 * math.pi, TURN * ((step - self.turn_start) // self.turn_steps + 1))


@dataclass(frozen=True)
class PairBatch:
    """
    Pairs of described fragments.

    truth: (P, 4, 4) T_i_j, float32. late: whether poses and confidence are learnt.
    """

    keypoints: list[tuple[Keypoints, Keypoints]]
    truth: Tensor
    late: bool


class RegistrationStage(Stage):
    """Learns which correspondences are right, what pose they have, and how sure that is."""

    Config = RegistrationStageConfig
    figure = 'recall'

    def __init__(
        self, config: RegistrationStageConfig, network: Lmpcr, files: FeatureFiles,
        train: list[TrainingScene], validation: list[TrainingScene], foundation: Foundation,
    ) -> None:
        """Take scenes that are described by the phi of the foundation."""
        super().__init__()
        self.config, self.files, self.scenes = config, files, train
        self.before, self.weights_digest = foundation.weights, foundation.digest
        self.network = network.requires_grad_(False)
        for block in (network.psi_init, network.psi_iter, network.zeta):
            block.requires_grad_(True)
        voxel_size = network.config.voxel_size
        self.labels = replace(
            ObjectiveConfig.for_voxel_size(voxel_size), min_inliers=config.min_inliers)
        self.pairs = overlapping_pairs(train, voxel_size, config.overlap)
        count = config.validation_pairs
        self.overlapping = spread(overlapping_pairs(validation, voxel_size, 0.1), count)
        self.others = spread([ScenePair(scene, i, j) for scene in validation
                              for i, j in combinations(range(len(scene)), 2)], count)

    @classmethod
    def build(cls, config: RegistrationStageConfig, folder: Path) -> RegistrationStage:
        """Describe the scenes, which takes long when it is done first; see `Stage`."""
        train, validation = training_scenes(config.data)
        foundation = read_foundation(config.weights, ('phi',), 'train the features first')
        weights = foundation.weights
        network = Lmpcr(replace(
            weights.config, points=config.points, width=config.width, clusters=config.clusters))
        network.load_state_dict(
            {name: tensor for name, tensor in weights.tensors.items() if name.startswith('phi.')},
            strict=False)
        device = select_device(config.loop.device)
        voxel_size = network.config.voxel_size
        descriptor = learned_descriptor(network, voxel_size, device, max_keypoints=KEYPOINTS)
        files = FeatureFiles(cache_folder(
            folder, 'features', foundation.digest, DISTURBANCE if config.rough else None))
        files.compute(
            [*train, *validation], descriptor, voxel_size, config.rough, workers_for(device))
        return cls(config, network, files, train, validation, foundation)

    def train(self, mode: bool = True) -> RegistrationStage:
        """Stay in evaluation mode: each pair is normalised, batches add nothing but noise."""
        return super().train(False)

    def draw(self, step: int, generator: torch.Generator) -> PairBatch:
        """Return pairs, turned at random; see `Stage`."""
        keypoints, truth = [], []
        for _ in range(self.config.pairs):
            i, j = self.draw_pair(generator)
            turned = [turn(k, random_rotation(generator, self.config.max_turn(step)))
                      for k in (i, j)]
            truth.append(turned[0].T_world_points.inverse() @ turned[1].T_world_points)
            keypoints.append((some(turned[0], self.config.points, generator), turned[1]))
        return PairBatch(keypoints, torch.stack(truth).float(), step >= self.config.late)

    def draw_pair(self, generator: torch.Generator) -> list[Keypoints]:
        """Return two fragments of a scene in either order."""
        pair = self.pairs[choice(len(self.pairs), generator)]
        order = [pair.i, pair.j]
        if torch.rand((), generator=generator) < self.config.others:
            order = torch.randperm(len(pair.scene), generator=generator)[:2].tolist()
        elif choice(2, generator):
            order.reverse()
        return [self.files.read(pair.scene, k) for k in order]

    def forward(self, batch: PairBatch) -> dict[str, Tensor]:
        """Return L_class and, later, L_trans and L_conf, with their sum (Eq. 10)."""
        gamma = self.correspondences(batch.keypoints)
        losses = registration_losses(
            gamma, batch.truth.to(self.device), self.passes(gamma), self.labels)
        late = losses['transformation'] + losses['confidence']
        return {'loss': losses['classification'] + late * float(batch.late), **losses}

    def correspondences(self, pairs: Sequence[tuple[Keypoints, Keypoints]]) -> Gamma:
        """Return Gamma of Eq. 4 of single pairs."""
        device = self.device
        points_i = [i.points.to(device) for i, _ in pairs]
        with torch.no_grad():
            points_j = [self.network.matching(
                i.descriptors.to(device), j.descriptors.to(device), j.points.to(device))
                for i, j in pairs]
        mask = [torch.ones_like(points[:, 0], dtype=torch.bool) for points in points_i]
        zeros = torch.zeros(len(pairs), dtype=torch.int64, device=device)
        return Gamma(zeros, zeros + 1, *(
            pad_sequence(rows, batch_first=True) for rows in (points_i, points_j, mask)))

    def passes(self, gamma: Gamma) -> list[PairEstimate]:
        """Return the estimates of psi_init and psi_iter, each pair by itself, as Alg. 1 has it."""
        network, original = self.network, (gamma.points_i, gamma.points_j, gamma.mask)
        x = torch.cat([gamma.points_i, gamma.points_j], 2)
        estimates = [estimate(network.psi_init, network.zeta, x, *original)]
        for _ in range(self.config.iterations):
            last = estimates[-1]
            # What a pass begins with is as given to it.
            r, w = distances(last.T_i_j, gamma).detach(), last.weights.detach()
            x = torch.cat([x, r[..., None], w[..., None]], 2)
            estimates.append(estimate(network.psi_iter, network.zeta, x, *original))
            aligned = transform(estimates[-1].T_i_j, gamma.points_j).detach()
            x = torch.cat([gamma.points_i, aligned], 2)
        return estimates

    def validate(self) -> dict[str, float]:
        """Return the figures of `pose_figures` on fragments as they are."""
        overlapping, other = (
            [self.estimated(pair) for pair in pairs] for pairs in (self.overlapping, self.others))
        scale = self.network.config.voxel_size / LmpcrConfig.voxel_size
        return pose_figures(overlapping, other, scale)

    def estimated(self, pair: ScenePair) -> EstimatedPose:
        """Return what the last pass makes of a pair, beside the truth."""
        i, j = (self.files.read(pair.scene, k) for k in (pair.i, pair.j))
        sample = some(i, self.config.points, torch.Generator().manual_seed(0))
        last = self.passes(self.correspondences([(sample, j)]))[-1]
        return EstimatedPose(
            last.T_i_j[0].cpu().numpy(), (i.T_world_points.inverse() @ j.T_world_points).numpy(),
            float(last.c_local))

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write the weights of the whole network."""
        save_weights(path, with_evidence(self.before, self.network.state_dict()), {
            **provenance, 'phi': json.dumps(self.before.metadata),
            'config': self.network.config.to_json()})

    def networks(self) -> list[nn.Module]:
        """Return all that is trained; see `Stage`."""
        network = self.network
        return [network.psi_init, network.psi_iter, network.zeta]

    def provenance(self) -> dict[str, str]:
        """Return the numbers of scenes and fragments."""
        return counted(self.scenes)


def some(keypoints: Keypoints, count: int, generator: torch.Generator) -> Keypoints:
    """Return at most `count` of the keypoints, at random."""
    rows = torch.randperm(len(keypoints.points), generator=generator)[:count]
    return replace(
        keypoints, points=keypoints.points[rows], descriptors=keypoints.descriptors[rows])


def turn(keypoints: Keypoints, R: FloatArray) -> Keypoints:
    """Return the keypoints in a frame that is turned by R (3, 3): p' = R p."""
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3] = torch.from_numpy(R.T.copy())
    return replace(keypoints, points=keypoints.points @ T[:3, :3].float(),
                   T_world_points=keypoints.T_world_points @ T)
