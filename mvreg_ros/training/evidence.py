# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage `registration` for method `consistency`: which evidence makes a pose right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, product
import json
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.evaluation.metrics import relative_errors
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.methods.pretrained import consistency_method, load_pretrained
from mvreg_ros.pairwise.evidence import EvidenceNetwork
from mvreg_ros.pairwise.matching import match
from mvreg_ros.parallel import ordered_map
from mvreg_ros.training.config import StageConfig
from mvreg_ros.training.disturbance import disturbed_points
from mvreg_ros.training.scenes import counted, training_scenes, TrainingScene
from mvreg_ros.training.stage import Stage
from mvreg_ros.types import FloatArray, FragmentFeatures
from mvreg_ros.weights.files import load_weights, save_weights
import numpy as np
from safetensors.torch import load_file, save
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

CPU = torch.device('cpu')


@dataclass(frozen=True)
class EvidenceStageConfig(StageConfig):
    """
    The settings of the stage.

    weights: the file that phi is taken from, and that the result holds too. rotation (degrees),
    translation (metres at voxels of 2.5 cm): errors below which a pose is right. across: about so
    many fragments of a scene are tried on as many of the next one, where nothing is right. batch:
    poses in a batch.
    """

    weights: str
    rotation: float = 10.0
    translation: float = 0.3
    across: int = 8
    batch: int = 1024


class EvidenceStage(Stage):
    """Learns the probability that a pose is right from all poses that were found in scenes."""

    Config = EvidenceStageConfig
    figure = 'log_likelihood'

    def __init__(
        self, config: EvidenceStageConfig, train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor], scenes: Sequence[TrainingScene],
    ) -> None:
        """Take evidence (N, C) and whether it is right (N,), for training and for validation."""
        super().__init__()
        self.config, self.scenes = config, scenes
        self.evidence, self.right = train
        self.validation = validation
        self.zeta = EvidenceNetwork()
        self.zeta.begin_with(self.evidence)

    @classmethod
    def build(cls, config: EvidenceStageConfig, folder: Path) -> EvidenceStage:
        """Register all pairs of the scenes where that is not done yet; see `Stage`."""
        pretrained = load_pretrained(config.weights, 'cylinder', ('phi',))
        method = consistency_method(
            pretrained, pretrained.network.config.voxel_size, CPU)
        rows = []
        train, validation = training_scenes(config.data)
        for scenes in (train, validation):
            found = [
                poses_found(method, scene, following, config, folder)
                for scene, following in pairwise([*scenes, scenes[0]])]
            rows.append((torch.cat([e for e, _ in found]), torch.cat([r for _, r in found])))
        return cls(config, rows[0], rows[1], train)

    def draw(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return evidence and whether it is right; see `Stage`."""
        rows = torch.randint(len(self.evidence), (self.config.batch,), generator=generator)
        return self.evidence[rows], self.right[rows]

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the cross entropy, as L_conf."""
        evidence, right = (x.to(self.device) for x in batch)
        return {'loss': binary_cross_entropy_with_logits(self.zeta(evidence), right)}

    def validate(self) -> dict[str, float]:
        """Return the mean log likelihood, and how many poses are right, believed, and both."""
        evidence, right = (x.to(self.device) for x in self.validation)
        logits = self.zeta(evidence)
        believed = logits > np.log(9)
        return {
            'log_likelihood': -float(binary_cross_entropy_with_logits(logits, right)),
            'right': float(right.mean()),
            'believed': float(believed.float().mean()),
            'right_of_believed': float(right[believed].mean()),
            'believed_of_right': float(believed[right > 0].float().mean()),
        }

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write the network beside the phi that it was trained with."""
        weights = load_weights(Path(self.config.weights))
        tensors = dict(weights.tensors)
        tensors |= {f'evidence.{name}': x for name, x in self.zeta.state_dict().items()}
        save_weights(path, tensors, {
            **provenance, 'config': weights.metadata['config'],
            'phi': json.dumps(weights.metadata)})

    def provenance(self) -> dict[str, str]:
        """Return the numbers of scenes, fragments and poses."""
        return {**counted(self.scenes), 'poses': str(len(self.evidence))}


def poses_found(
    method: ConsistencyMethod, scene: TrainingScene, following: TrainingScene,
    config: EvidenceStageConfig, folder: Path,
) -> tuple[Tensor, Tensor]:
    """
    Return the evidence (N, C) for poses in a scene and across two, and which are right (N,).

    They are kept in a file below the folder.
    """
    path = folder / 'evidence' / f'{scene.name}.safetensors'
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save(compute_poses(method, scene, following, config)))
    tensors = load_file(path)
    return tensors['evidence'], tensors['right']


def compute_poses(
    method: ConsistencyMethod, scene: TrainingScene, following: TrainingScene,
    config: EvidenceStageConfig,
) -> dict[str, Tensor]:
    """Return what `poses_found` keeps."""
    step = max(1, len(scene) // config.across)
    inside = described(method, scene, 1)
    across = product(inside[::step], described(method, following, step))
    jobs: list[tuple[FragmentFeatures, FragmentFeatures, FloatArray | None]] = [
        (inside[i], inside[j], scene.relative(i, j))
        for i, j in combinations(range(len(scene)), 2)]
    jobs += [(i, j, None) for i, j in across]
    translation = config.translation * method.voxel_size / LmpcrConfig.voxel_size

    def judge(
        job: tuple[FragmentFeatures, FragmentFeatures, FloatArray | None]
    ) -> tuple[Tensor, Tensor]:
        i, j, truth = job
        pair = match(0, 1, i, j, method.register_pair.min_similarity)
        found = method.register_pair.estimates(pair)
        evidence = method.register_pair.evidence(found, pair, i, j)
        right = torch.zeros(len(evidence))
        if truth is not None:
            for k, pose in enumerate(found[:len(evidence)]):
                (degrees,), (metres,) = relative_errors({(0, 1): pose.T_i_j}, {(0, 1): truth})
                right[k] = float(degrees < config.rotation and metres < translation)
        return evidence, right

    results = list(ordered_map(judge, jobs, method.workers))
    return {'evidence': torch.cat([evidence for evidence, _ in results]),
            'right': torch.cat([right for _, right in results])}


def described(
    method: ConsistencyMethod, scene: TrainingScene, step: int
) -> list[FragmentFeatures]:
    """Return the features of every `step`-th fragment of a scene, as rough as real ones."""
    fragments = []
    for k in range(0, len(scene), step):
        fragment = scene.fragment(k)
        rng = np.random.default_rng([*scene.name.encode(), k, 1])
        points = disturbed_points(fragment, rng, method.voxel_size).astype(np.float32)
        rows = voxel_down_sample(torch.from_numpy(points), method.voxel_size)
        fragments.append(replace(fragment, points=points[rows.numpy()]))
    return list(ordered_map(method.descriptor, fragments, method.workers))
