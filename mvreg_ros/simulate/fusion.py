# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth images fused into one point cloud by a truncated signed distance volume."""

from __future__ import annotations

from collections.abc import Sequence

from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.simulate.camera import Camera, Depth, FARTHEST
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray
import open3d as o3d
import torch

# Metres. The volume is finer than the cloud, so that edges and thin things survive.
VOXEL, SPACING = 0.015, 0.025
LEAST_IMAGES = 3
TRUNCATION_VOXELS = 3.0
BLOCK = 8  # voxels along an edge
# Blocks to make room for; a fragment takes some 3000.
BLOCKS = 8000


def fuse(
    images: Sequence[Depth], T_fragment_camera: FloatArray, camera: Camera
) -> NDArray[np.float32]:
    """
    Return the surface that at least three images agree on, one point in each cell of 2.5 cm.

    images: (height, width) metres, 0 where unknown. T_fragment_camera: (M, 4, 4). Points: (N, 3)
    in the fragment's frame, in an order that depends on nothing but their coordinates.
    """
    float32, scalar = o3d.core.float32, o3d.core.SizeVector([1])
    grid = o3d.t.geometry.VoxelBlockGrid(
        ('tsdf', 'weight'), (float32, float32), (scalar, scalar), VOXEL, BLOCK, BLOCKS,
        o3d.core.Device('CPU:0'),
    )
    intrinsic = o3d.core.Tensor.from_numpy(camera.matrix)
    for depth, pose in zip(images, T_fragment_camera, strict=True):
        if not depth.any():
            continue
        image = o3d.t.geometry.Image(o3d.core.Tensor.from_numpy(depth))
        extrinsic = o3d.core.Tensor.from_numpy(np.linalg.inv(pose))
        view = (image, intrinsic, extrinsic, 1.0, FARTHEST, TRUNCATION_VOXELS)
        grid.integrate(grid.compute_unique_block_coordinates(*view), *view)
    # Room for a point on three edges of each voxel spares Open3D a pass that counts them.
    most = 3 * BLOCK**3 * grid.hashmap().size()
    points = grid.extract_point_cloud(LEAST_IMAGES - 0.5, most).point.positions.numpy()
    points = points[np.lexsort(points.T)]
    return points[voxel_down_sample(torch.from_numpy(points), SPACING).numpy()]
