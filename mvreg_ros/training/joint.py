# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage `multiview`: the whole network end to end, by the joint loss of Eq. 16 through Alg. 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
import json
from pathlib import Path

from mvreg_ros.features.cylinder_descriptor import oriented_keypoints, surroundings
from mvreg_ros.features.cylinder_network import CylinderNetwork
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig, LmpcrOutput
from mvreg_ros.multiview.algorithm_1 import Algorithm1Config
from mvreg_ros.training.config import StageConfig
from mvreg_ros.training.disturbance import disturbed
from mvreg_ros.training.foundation import Foundation, read_foundation
from mvreg_ros.training.losses import PARTS
from mvreg_ros.training.objective import Objective, ObjectiveConfig
from mvreg_ros.training.pairs import (
    choice,
    Neighbors,
    overlapping_pairs,
    random_rotation,
    ScenePair,
    spread,
)
from mvreg_ros.training.scenes import counted, training_scenes, TrainingScene
from mvreg_ros.training.stage import Stage
from mvreg_ros.training.validation import EstimatedPose, pose_figures
from mvreg_ros.weights.files import save_weights
from mvreg_ros.weights.layout import NEEDED
import numpy as np
import torch
from torch import nn, Tensor


@dataclass(frozen=True)
class JointStageConfig(StageConfig):
    """
    The settings of the stage; the defaults are the paper's.

    weights: the file of the whole network to begin with. fragments: of a graph, of which all pairs
    are registered. overlap: least share of a fragment with one of the others. points: of each that
    are matched. rough: see `RegistrationStageConfig`. iterations: of Alg. 1. min_inliers: share of
    right matches from which on a pair says something about a pose. validation_graphs: at most.
    """

    weights: str
    fragments: int = 4
    overlap: float = 0.3
    points: int = 2048
    rough: bool = False
    iterations: int = 4
    min_inliers: float = ObjectiveConfig.min_inliers
    validation_graphs: int = 20


@dataclass(frozen=True)
class FragmentGraph:
    """
    Fragments that overlap, each about its centroid and turned at random.

    scans: (N, 3) metres each. inputs: of phi for each point, where phi has other inputs than the
    points. objective: what is true of them.
    """

    scans: list[Tensor]
    inputs: list[Tensor]
    objective: Objective


class JointStage(Stage):
    """Improves all parts of a network that were trained apart."""

    Config = JointStageConfig
    figure = 'recall'

    def __init__(
        self, config: JointStageConfig, foundation: Foundation, train: list[TrainingScene],
        validation: list[TrainingScene],
    ) -> None:
        """Begin with weights of all parts."""
        super().__init__()
        weights = foundation.weights
        self.config, self.scenes, self.before = config, train, weights
        self.weights_digest = foundation.digest
        # What was learned on phi as it was is left out: phi changes.
        cylinder = replace(weights.config.cylinder, context=())
        self.network = Lmpcr(replace(weights.config, points=config.points, cylinder=cylinder))
        self.network.load_state_dict(weights.tensors, strict=False)  # names are checked already
        self.algorithm = Algorithm1Config(iterations=config.iterations)
        voxel_size = self.network.config.voxel_size
        self.labels = replace(
            ObjectiveConfig.for_voxel_size(voxel_size), min_inliers=config.min_inliers)
        self.pairs = overlapping_pairs(train, voxel_size, config.overlap)
        self.neighbors = Neighbors(self.pairs)
        held_out = overlapping_pairs(validation, voxel_size, config.overlap)
        self.validation_neighbors = Neighbors(held_out)
        self.validation_pairs = spread(held_out, config.validation_graphs)

    @classmethod
    def build(cls, config: JointStageConfig, folder: Path) -> JointStage:
        """Read weights and scenes; see `Stage`."""
        foundation = read_foundation(
            config.weights, NEEDED, 'train the features, then the registration, then this')
        return cls(config, foundation, *training_scenes(config.data))

    def train(self, mode: bool = True) -> JointStage:
        """Stay in evaluation mode: what is trained is what the pipeline runs."""
        return super().train(False)

    def draw(self, step: int, generator: torch.Generator) -> FragmentGraph:
        """Return fragments about a pair; see `Stage`."""
        pair = self.pairs[choice(len(self.pairs), generator)]
        return self.graph(pair, self.neighbors, generator)

    def graph(
        self, pair: ScenePair, neighbors: Neighbors, generator: torch.Generator
    ) -> FragmentGraph:
        """Return fragments that hang together, the pair among them."""
        scans, inputs, poses = [], [], []
        for k in neighbors.connected(pair, self.config.fragments, generator):
            scan, of_phi, T = self.scan(pair.scene, k, generator)
            scans.append(scan)
            inputs.append(of_phi)
            poses.append(T)
        T_world_scan = torch.from_numpy(np.stack(poses)).float()
        return FragmentGraph(scans, inputs, Objective(scans, T_world_scan, self.labels))

    def scan(
        self, scene: TrainingScene, k: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """Return the points (N, 3), what phi sees of them, and T_world_points (4, 4)."""
        phi, config = self.network.phi, self.network.config
        fragment = scene.fragment(k)
        if self.config.rough:
            fragment = disturbed(fragment, scene.name, k, config.voxel_size)
        T = np.eye(4)
        T[:3, :3] = random_rotation(generator)
        T[:3, 3] = fragment.points.mean(0)

        def turned(points: np.ndarray) -> Tensor:
            return torch.from_numpy((points - T[:3, 3]) @ T[:3, :3]).float()

        points = turned(fragment.points)
        points = points[voxel_down_sample(points, config.voxel_size)]
        inputs = points.new_zeros(0)
        if isinstance(phi, CylinderNetwork):
            points, normals = oriented_keypoints(
                points, turned(fragment.sensor_origin), phi.config, config.voxel_size)
            rows = torch.randperm(len(points), generator=generator)[:config.points]
            inputs = surroundings(points, normals, rows, phi.config, config.voxel_size)
            points = points[rows]
        return points, inputs, scene.poses[k] @ T

    def forward(self, batch: FragmentGraph) -> dict[str, Tensor]:
        """Return the parts of Eq. 16 and their sum."""
        # The loop has seeded torch's own generator.
        output = self.output(batch, torch.default_generator)
        parts = batch.objective.to(self.device)(output, torch.default_generator)
        # Where no pose is valid, nothing else depends on beta.
        loss = parts.total + 0 * self.network.beta
        return {'loss': loss, **{name: getattr(parts, name) for name in PARTS}}

    def output(self, graph: FragmentGraph, generator: torch.Generator) -> LmpcrOutput:
        """Return what the network makes of the fragments."""
        scans = [scan.to(self.device) for scan in graph.scans]
        phi = self.network.phi
        if isinstance(phi, CylinderNetwork):
            descriptors = [phi(inputs.to(self.device)) for inputs in graph.inputs]
        else:
            descriptors = self.network.describe(scans)
        return self.network.register(
            scans, [d.float() for d in descriptors], self.algorithm, generator)

    def validate(self) -> dict[str, float]:
        """Return the figures of `pose_figures`, of the poses after the last round."""
        poses = []
        for pair in self.validation_pairs:
            generator = torch.Generator().manual_seed(0)
            graph = self.graph(pair, self.validation_neighbors, generator)
            last = self.output(graph, generator).rounds[-1]
            truth = graph.objective.T_world_scan.double().numpy()
            found, confidence = last.T_i_j.cpu().numpy(), last.c.cpu().numpy()
            for row, (i, j) in enumerate(combinations(range(len(truth)), 2)):
                expected = np.linalg.inv(truth[i]) @ truth[j]
                poses.append(EstimatedPose(found[row], expected, float(confidence[row])))
        return pose_figures(
            poses, poses, self.network.config.voxel_size / LmpcrConfig.voxel_size)

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write the weights of the whole network."""
        save_weights(path, self.network.state_dict(), {
            **provenance, 'before': json.dumps(self.before.metadata),
            'config': self.network.config.to_json()})

    def networks(self) -> list[nn.Module]:
        """Return all that is trained; see `Stage`."""
        network = self.network
        return [network.phi, network.psi_init, network.psi_iter, network.zeta]

    def provenance(self) -> dict[str, str]:
        """Return the numbers of scenes and fragments."""
        return counted(self.scenes)
