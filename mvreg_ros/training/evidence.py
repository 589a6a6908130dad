# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage `registration` for method `consistency`: which evidence makes a pose right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
import json
from pathlib import Path

from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.methods.pretrained import consistency_method, Pretrained
from mvreg_ros.pairwise.evidence import counted as inliers_counted
from mvreg_ros.pairwise.evidence import EvidenceNetwork
from mvreg_ros.training.config import StageConfig
from mvreg_ros.training.disturbance import DISTURBANCE
from mvreg_ros.training.evidence_files import EvidenceFiles, Labels
from mvreg_ros.training.foundation import cache_folder, Foundation, read_foundation
from mvreg_ros.training.scenes import counted, training_scenes, TrainingScene
from mvreg_ros.training.stage import Stage
from mvreg_ros.types import InputError
from mvreg_ros.weights.files import save_weights
import numpy as np
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
        self, config: EvidenceStageConfig, foundation: Foundation, train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor], scenes: Sequence[TrainingScene],
    ) -> None:
        """Take evidence (N, C) and whether it is right (N,), for training and for validation."""
        super().__init__()
        self.config, self.scenes = config, scenes
        self.weights, self.weights_digest = foundation.weights, foundation.digest
        self.evidence, self.right = train
        self.validation = validation
        self.zeta = EvidenceNetwork()
        self.zeta.begin_with(self.evidence)

    @classmethod
    def build(cls, config: EvidenceStageConfig, folder: Path) -> EvidenceStage:
        """Register all pairs of the scenes where that is not done yet; see `Stage`."""
        scenes, held_out = training_scenes(config.data)
        foundation = read_foundation(config.weights, ('phi',), 'train the features first')
        network = Lmpcr(foundation.weights.config)
        network.load_state_dict(foundation.weights.tensors, strict=False)
        if network.config.features != 'cylinder':
            raise InputError(f'{config.weights}: holds features {network.config.features}: take '
                             'weights of descriptor cylinder')
        voxel_size = network.config.voxel_size
        method = consistency_method(Pretrained(network, inliers_counted), voxel_size, CPU)
        labels = Labels(config.rotation, config.translation * voxel_size / LmpcrConfig.voxel_size,
                        config.across)
        files = EvidenceFiles(
            cache_folder(folder, 'evidence', foundation.digest, asdict(labels), DISTURBANCE))
        for some in (scenes, held_out):
            files.compute(some, method, labels)
        train, validation = files.read(scenes), files.read(held_out)
        if not (len(train[0]) and len(validation[0])):
            raise InputError('no pose with inliers enough was found: give more scenes')
        return cls(config, foundation, train, validation, scenes)

    def draw(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return evidence and whether it is right; see `Stage`."""
        rows = torch.randint(len(self.evidence), (self.config.batch,), generator=generator)
        return self.evidence[rows], self.right[rows]

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the cross entropy, as L_conf."""
        evidence, right = (x.to(self.device) for x in batch)
        return {'loss': binary_cross_entropy_with_logits(self.zeta(evidence), right)}

    def validate(self) -> dict[str, float]:
        """
        Return mean log likelihoods, and how many poses are right, believed, and both.

        log_likelihood: of the network alone. counted: of the curve over counts. pooled: of both
        together, as the pipeline has it, calibrated here, and what is believed by that.
        """
        evidence, right = (x.to(self.device) for x in self.validation)
        self.zeta.calibrate(evidence, right)
        kinds: dict[str, Callable[[Tensor], Tensor]] = {
            'log_likelihood': self.zeta, 'counted': inliers_counted,
            'pooled': self.zeta.confidence}
        believed = kinds['pooled'](evidence) > np.log(9)
        return {
            **{name: -float(binary_cross_entropy_with_logits(zeta(evidence), right))
               for name, zeta in kinds.items()},
            'right': float(right.mean()),
            'believed': float(believed.float().mean()),
            'right_of_believed': float(right[believed].mean()),
            'believed_of_right': float(believed[right > 0].float().mean()),
        }

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write the network beside the phi that it was trained with."""
        tensors = dict(self.weights.tensors)
        tensors |= {f'evidence.{name}': x for name, x in self.zeta.state_dict().items()}
        save_weights(path, tensors, {
            **provenance, 'config': self.weights.metadata['config'],
            'phi': json.dumps(self.weights.metadata)})

    def provenance(self) -> dict[str, str]:
        """Return the numbers of scenes, fragments and poses."""
        return {**counted(self.scenes), 'poses': str(len(self.evidence))}
