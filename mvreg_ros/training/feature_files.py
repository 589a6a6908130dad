# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The features of the fragments of many scenes, computed once, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.multiview.centering import centered
from mvreg_ros.parallel import ordered_map
from mvreg_ros.training.disturbance import disturbed
from mvreg_ros.training.processes import own_share, wait_for_all
from mvreg_ros.training.scenes import TrainingScene
from mvreg_ros.types import no_progress, Progress
from safetensors.torch import load_file, save
import torch
from torch import Tensor


@dataclass(frozen=True)
class Keypoints:
    """
    A described fragment, as the pipeline has it: about its centroid.

    points: (N, 3) metres. descriptors: (N, D) float32. T_world_points: (4, 4) float64.
    """

    points: Tensor
    descriptors: Tensor
    T_world_points: Tensor


@dataclass(frozen=True)
class FeatureFiles:
    """A file for each fragment: folder/SCENE/K.safetensors, descriptors in half precision."""

    folder: Path

    def compute(
        self, scenes: Sequence[TrainingScene], descriptor: Descriptor, voxel_size: float,
        rough: bool, workers: int, progress: Progress = no_progress,
    ) -> None:
        """Describe what has no file yet, with errors on top if `rough`; processes share it."""
        # Shared before it is looked what is missing, which changes as others write.
        own = own_share([(scene, k) for scene in scenes for k in range(len(scene))])
        missing = [item for item in own if not self.path(*item).exists()]

        def describe(item: tuple[TrainingScene, int]) -> None:
            scene, k = item
            fragment = scene.fragment(k)
            if rough:
                fragment = disturbed(fragment, scene.name, k, voxel_size)
            rows = voxel_down_sample(torch.from_numpy(fragment.points), voxel_size)
            moved, center = centered(replace(fragment, points=fragment.points[rows.numpy()]))
            features = descriptor(moved)
            path = self.path(scene, k)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, save({
                'points': features.points.cpu().contiguous(),
                'descriptors': features.descriptors.cpu().half().contiguous(),
                'center': torch.from_numpy(center)}))

        for done, _ in enumerate(ordered_map(describe, missing, workers), 1):
            progress('features', done, len(missing))
        wait_for_all()

    def read(self, scene: TrainingScene, k: int) -> Keypoints:
        """Return fragment k of a scene."""
        tensors = load_file(self.path(scene, k))
        T = torch.from_numpy(scene.poses[k]).clone()
        T[:3, 3] += T[:3, :3] @ tensors['center']
        return Keypoints(tensors['points'], tensors['descriptors'].float(), T)

    def path(self, scene: TrainingScene, k: int) -> Path:
        """Return the file of a fragment."""
        return self.folder / scene.name / f'{k}.safetensors'
