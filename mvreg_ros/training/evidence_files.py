# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The evidence for all poses that method `consistency` finds in scenes, computed once, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.evaluation.metrics import relative_errors
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.parallel import one_thread_each
from mvreg_ros.training.disturbance import disturbed
from mvreg_ros.training.processes import own_share, wait_for_all
from mvreg_ros.training.scenes import TrainingScene
from mvreg_ros.types import FloatArray, FragmentFeatures
from safetensors.torch import load_file, save
import torch
from torch import Tensor

Job = tuple[FragmentFeatures, FragmentFeatures, FloatArray | None]


@dataclass(frozen=True)
class Labels:
    """
    Which poses are right: those with errors below these, rotation in degrees, translation in m.

    across: about so many fragments of a scene are tried on as many of the next one, where nothing
    is right.
    """

    rotation: float
    translation: float
    across: int


@dataclass(frozen=True)
class EvidenceFiles:
    """A file for each scene with the one that follows it, the first after the last."""

    folder: Path

    def compute(
        self, scenes: Sequence[TrainingScene], method: ConsistencyMethod, labels: Labels
    ) -> None:
        """Write the files that are missing; processes share the work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for pair in own_share(list(pairwise([*scenes, scenes[0]]))):
            if not self.path(*pair).exists():
                write_atomic(self.path(*pair), save(compute_poses(*pair, method, labels)))
        wait_for_all()

    def read(self, scenes: Sequence[TrainingScene]) -> tuple[Tensor, Tensor]:
        """Return the evidence (N, C) for poses in and across scenes, and which are right (N,)."""
        found = [load_file(self.path(*pair)) for pair in pairwise([*scenes, scenes[0]])]
        return (torch.cat([tensors['evidence'] for tensors in found]),
                torch.cat([tensors['right'] for tensors in found]))

    def path(self, scene: TrainingScene, following: TrainingScene) -> Path:
        """Return the file of a scene."""
        return self.folder / f'{scene.name}+{following.name}.safetensors'


@one_thread_each()
def compute_poses(
    scene: TrainingScene, following: TrainingScene, method: ConsistencyMethod, labels: Labels
) -> dict[str, Tensor]:
    """Return 'evidence' (N, C) and 'right' (N,); `following` may be the scene, if it is alone."""
    step = max(1, len(scene) // labels.across)
    inside = described(method, scene, 1)
    jobs: list[Job] = [(inside[i], inside[j], scene.relative(i, j))
                       for i, j in combinations(range(len(scene)), 2)]
    if following is not scene:
        jobs += [(i, j, None)
                 for i, j in product(inside[::step], described(method, following, step))]

    def judge(job: Job) -> tuple[Tensor, Tensor]:
        i, j, truth = job
        found, evidence = method.register_pair.poses(0, 1, i, j)
        right = torch.zeros(len(evidence))
        if truth is not None:
            for k, pose in enumerate(found[:len(evidence)]):
                (degrees,), (metres,) = relative_errors({(0, 1): pose.T_i_j}, {(0, 1): truth})
                right[k] = float(degrees < labels.rotation and metres < labels.translation)
        return evidence, right

    results = list(method.mapper.map(judge, jobs))
    return {'evidence': torch.cat([evidence for evidence, _ in results]),
            'right': torch.cat([right for _, right in results])}


def described(
    method: ConsistencyMethod, scene: TrainingScene, step: int
) -> list[FragmentFeatures]:
    """Return the features of every `step`-th fragment of a scene, as rough as real ones."""
    fragments = [disturbed(scene.fragment(k), scene.name, k, method.voxel_size)
                 for k in range(0, len(scene), step)]
    return list(method.mapper.map(method.descriptor, fragments))
