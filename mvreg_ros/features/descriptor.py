# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The descriptors behind the correspondence function phi of Eq. 3.

A descriptor is a callable from a `Fragment` to its `FragmentFeatures`; a learned one takes this
place. Lengths are multiples of the voxel size, so a larger voxel describes a larger world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mvreg_ros.features.fpfh import root_fpfh
from mvreg_ros.features.normals import estimate_normals
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.types import Fragment, FragmentFeatures
import torch


class Descriptor(Protocol):
    """phi's feature space: describes the keypoints of a fragment."""

    def __call__(self, fragment: Fragment) -> FragmentFeatures:
        """Return at most a few thousand keypoints with descriptors of unit length."""


@dataclass(frozen=True)
class FpfhDescriptor:
    """
    Square-rooted FPFH at three radii: 99 numbers a keypoint, nothing learned.

    Lengths are in voxels: at 2.5 cm the keypoints are 5 cm apart, normals are fitted within 10 cm
    and the radii are 15, 25 and 45 cm.
    """

    voxel_size: float
    device: torch.device
    keypoint_voxels: float = 2.0
    normal_voxels: float = 4.0
    radii_voxels: tuple[float, ...] = (6.0, 10.0, 18.0)
    max_keypoints: int = 5000

    def __call__(self, fragment: Fragment) -> FragmentFeatures:
        """Describe a fragment whose points have been thinned to the voxel size."""
        points = torch.from_numpy(fragment.points).to(self.device)
        viewpoint = torch.from_numpy(fragment.sensor_origin).to(self.device)
        keypoints = points[voxel_down_sample(points, self.keypoint_voxels * self.voxel_size)]
        normals = estimate_normals(
            keypoints, points, self.normal_voxels * self.voxel_size, viewpoint
        )
        descriptors = root_fpfh(
            keypoints, normals, tuple(r * self.voxel_size for r in self.radii_voxels))
        if len(keypoints) > self.max_keypoints:
            generator = torch.Generator().manual_seed(0)
            chosen = torch.randperm(len(keypoints), generator=generator)[: self.max_keypoints]
            chosen = chosen.sort().values.to(self.device)
            keypoints, normals, descriptors = (
                x[chosen] for x in (keypoints, normals, descriptors)
            )
        return FragmentFeatures(keypoints, normals, descriptors, viewpoint)
