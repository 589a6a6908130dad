# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""FCGF as the descriptor of a fragment: voxels in, keypoints with learned descriptors out."""

from __future__ import annotations

from mvreg_ros.device import autocast
from mvreg_ros.features.fcgf import ResUNetBN2C
from mvreg_ros.features.normals import estimate_normals
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.sparse.engine import open_engine
from mvreg_ros.types import Fragment, FragmentFeatures
import torch

NORMAL_VOXELS = 4.0


class FcgfDescriptor:
    """
    Describes a fragment by a network that sees which voxels are occupied.

    All voxels are described, with the first point in each; of these at most `max_keypoints` are
    taken at random (Sec. 4), always the same for the same input.
    """

    def __init__(
        self, network: ResUNetBN2C, voxel_size: float, device: torch.device,
        max_keypoints: int = 5000, engine: str = 'torch',
    ) -> None:
        """Use a network, which is moved to the device and set to evaluation mode."""
        self.network = network.to(device).eval()
        self.voxel_size = voxel_size
        self.device = device
        self.max_keypoints = max_keypoints
        self.engine = engine

    @torch.no_grad()
    def __call__(self, fragment: Fragment) -> FragmentFeatures:
        """Describe a fragment; raises InputError where it is too large for its voxels."""
        points = torch.from_numpy(fragment.points).to(self.device)
        viewpoint = torch.from_numpy(fragment.sensor_origin).to(self.device)
        points = points[voxel_down_sample(points, self.voxel_size)]
        coordinates = torch.floor(points / self.voxel_size).to(torch.int64)
        coordinates = torch.nn.functional.pad(coordinates, (1, 0))  # one cloud, batch 0
        occupied = torch.ones(len(points), 1, device=self.device)
        with autocast(self.device):
            descriptors = self.network(occupied, open_engine(self.engine, coordinates))
        generator = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(points), generator=generator)[:self.max_keypoints]
        rows = rows.sort().values.to(self.device)
        keypoints = points[rows]
        normals = estimate_normals(keypoints, points, NORMAL_VOXELS * self.voxel_size, viewpoint)
        return FragmentFeatures(keypoints, normals, descriptors[rows], viewpoint)
