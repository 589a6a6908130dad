# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What surrounds the keypoints of training fragments, computed once and kept in files.

The descriptor's inputs do not depend on its weights, and take far longer than a step of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.features.cylinder_descriptor import oriented_keypoints, surroundings
from mvreg_ros.features.cylinder_network import CylinderConfig
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.parallel import ordered_map
from mvreg_ros.training.disturbance import DISTURBANCE, disturbed_points
from mvreg_ros.training.foundation import cache_folder
from mvreg_ros.training.processes import own_share, wait_for_all
from mvreg_ros.training.scenes import TrainingScene
from mvreg_ros.types import no_progress, Progress
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from scipy.spatial.transform import Rotation
import torch
from torch import Tensor

# Of the keypoints this share is kept, the same places of the world in all fragments, cell by cell.
KEPT_SHARE, KEPT_CELL_VOXELS = 0.4, 6.0


@dataclass(frozen=True)
class Surroundings:
    """
    Some keypoints of a fragment.

    world: (N, 3) float32 metres and normals: (N, 3), both in the world. inputs: (N, in_channels)
    float16.
    """

    world: Tensor
    normals: Tensor
    inputs: Tensor


class SurroundingsFiles:
    """The surroundings of the fragments of scenes, in files below a folder."""

    def __init__(self, folder: Path, config: CylinderConfig, voxel_size: float) -> None:
        """Keep files in a folder of their own for these sizes."""
        self.config, self.voxel_size = config, voxel_size
        self.folder = cache_folder(
            folder, 'surroundings', config.keypoint, config.normal, config.fpfh, config.radii,
            config.thinning, voxel_size, DISTURBANCE)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, scene: TrainingScene, k: int) -> Path:
        """Return the file of a fragment."""
        return self.folder / f'{scene.name}_{k}.safetensors'

    def compute(
        self, scenes: Sequence[TrainingScene], workers: int, progress: Progress = no_progress
    ) -> None:
        """Write the files that are missing; processes share the work."""
        own = own_share([(scene, k) for scene in scenes for k in range(len(scene))])
        jobs = [job for job in own if not self.path(*job).exists()]

        def write(job: tuple[TrainingScene, int]) -> None:
            found = disturbed_surroundings(*job, self.config, self.voxel_size)
            write_atomic(self.path(*job), save({
                'world': found.world, 'normals': found.normals, 'inputs': found.inputs}))

        for done, _ in enumerate(ordered_map(write, jobs, workers), 1):
            progress('surroundings', done, len(jobs))
        wait_for_all()

    def read(self, scene: TrainingScene, k: int) -> Surroundings:
        """Return the surroundings of a fragment."""
        with safe_open(self.path(scene, k), 'pt') as file:
            return Surroundings(*map(file.get_tensor, ('world', 'normals', 'inputs')))


def disturbed_surroundings(
    scene: TrainingScene, k: int, config: CylinderConfig, voxel_size: float
) -> Surroundings:
    """Return the surroundings of a fragment that was turned, thinned out and made noisy."""
    fragment = scene.fragment(k)
    rng = np.random.default_rng([*scene.name.encode(), k])
    # Another frame puts the borders of the voxels elsewhere; what is described does not turn.
    R = Rotation.random(random_state=rng).as_matrix()
    points = disturbed_points(fragment, rng, voxel_size) @ R.T
    cloud = torch.from_numpy(points.astype(np.float32))
    cloud = cloud[voxel_down_sample(cloud, voxel_size)]
    viewpoint = torch.from_numpy((R @ fragment.sensor_origin).astype(np.float32))
    keypoints, normals = oriented_keypoints(cloud, viewpoint, config, voxel_size)
    T = scene.poses[k]
    R_world = T[:3, :3] @ R.T
    world = keypoints.numpy() @ R_world.T + T[:3, 3]
    rows = torch.from_numpy(np.flatnonzero(kept(world, KEPT_CELL_VOXELS * voxel_size)))
    inputs = surroundings(keypoints, normals, rows, config, voxel_size)
    return Surroundings(
        torch.from_numpy(world.astype(np.float32))[rows],
        torch.from_numpy((normals.numpy() @ R_world.T).astype(np.float32))[rows], inputs.half())


def kept(world: NDArray, cell: float) -> NDArray[np.bool_]:
    """Return which points (N, 3) lie in cells of the world that are kept: a random choice."""
    x, y, z = np.floor(world / cell).astype(np.int64).astype(np.uint64).T
    mixed = x * np.uint64(73856093) ^ y * np.uint64(19349669) ^ z * np.uint64(83492791)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(40)).astype(float) < KEPT_SHARE * 2**24
