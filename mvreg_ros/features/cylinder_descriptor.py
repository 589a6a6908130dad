# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The learned descriptor: keypoints, what surrounds them in cylinders, and the network on that."""

from __future__ import annotations

from mvreg_ros.features.cylinder_network import CylinderConfig, CylinderNetwork
from mvreg_ros.features.cylinders import cylinder_histograms
from mvreg_ros.features.fpfh import root_fpfh
from mvreg_ros.features.normals import estimate_normals
from mvreg_ros.features.voxels import voxel_means
from mvreg_ros.types import Fragment, FragmentFeatures
import torch
from torch import Tensor
from torch.nn.functional import normalize


class CylinderDescriptor:
    """
    Describes the keypoints of a fragment by what surrounds them.

    max_keypoints: of a fragment; where there are more, as many are taken at random, always the
    same for the same input.
    """

    def __init__(
        self, network: CylinderNetwork, voxel_size: float, device: torch.device,
        max_keypoints: int = 5000,
    ) -> None:
        """Use a network, which is moved to the device and set to evaluation mode."""
        self.network = network.to(device).eval()
        self.voxel_size = voxel_size
        self.device = device
        self.max_keypoints = max_keypoints

    @torch.no_grad()
    def __call__(self, fragment: Fragment) -> FragmentFeatures:
        """Describe a fragment whose points have been thinned to the voxel size."""
        points = torch.from_numpy(fragment.points).to(self.device)
        viewpoint = torch.from_numpy(fragment.sensor_origin).to(self.device)
        config = self.network.config
        keypoints, normals = oriented_keypoints(points, viewpoint, config, self.voxel_size)
        generator = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(keypoints), generator=generator)[:self.max_keypoints]
        rows = rows.sort().values.to(self.device)
        inputs = surroundings(keypoints, normals, rows, config, self.voxel_size)
        keypoints, descriptors = keypoints[rows], self.network(inputs)
        context = self.network.context
        return FragmentFeatures(
            keypoints, normals[rows], descriptors, viewpoint,
            context=None if context is None
            else context.described(keypoints, descriptors, self.voxel_size).half())


def oriented_keypoints(
    points: Tensor, viewpoint: Tensor, config: CylinderConfig, voxel_size: float
) -> tuple[Tensor, Tensor]:
    """
    Return keypoints (N, 3) and their normals (N, 3), facing the viewpoint.

    Keypoints are means of points: noise is averaged, and where the voxels lie matters less.
    """
    keypoints = voxel_means(points, points, config.keypoint * voxel_size)
    return keypoints, estimate_normals(
        keypoints, points, config.normal * voxel_size, viewpoint)


def surroundings(
    keypoints: Tensor, normals: Tensor, rows: Tensor, config: CylinderConfig, voxel_size: float
) -> Tensor:
    """Return the network's inputs (K, in_channels) for the keypoints in `rows` (K,)."""
    histograms = [root_fpfh(keypoints, normals, tuple(r * voxel_size for r in config.fpfh))[rows]]
    for radius in config.radii:
        thin = voxel_means(
            keypoints, torch.cat([keypoints, normals], 1), radius / config.thinning * voxel_size)
        histograms.append(cylinder_histograms(
            keypoints[rows], normals[rows], thin[:, :3], normalize(thin[:, 3:], dim=1),
            radius * voxel_size))
    return torch.cat(histograms, 1)
