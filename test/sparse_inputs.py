# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Voxels, features and kernels for the tests of sparse convolution."""

from __future__ import annotations

from mvreg_ros.sparse.engine import SparseEngine
import torch
from torch import Tensor

# In and out.
STRIDES = [(1, 1), (1, 2), (2, 2), (2, 1), (1, 4), (4, 2), (4, 1)]


def random_voxels(seed: int, count: int, extent: int = 12) -> Tensor:
    """Return unique voxels of two clouds in random order, (N, 4)."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.randint(-extent, extent, (count, 3), generator=generator)
    batch = torch.randint(0, 2, (count, 1), generator=generator)
    voxels = torch.unique(torch.cat([batch, xyz], 1), dim=0)
    return voxels[torch.randperm(len(voxels), generator=generator)]


def inputs(
    engine: SparseEngine, size: int, channels: tuple[int, int], stride: int,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    """Return random features for the voxels of a stride, and a kernel that keeps their size."""
    generator = torch.Generator().manual_seed(0)
    count = len(engine.coordinates(stride))
    kernel = torch.randn(size**3, *channels, generator=generator, dtype=dtype)
    return (torch.randn(count, channels[0], generator=generator, dtype=dtype),
            kernel / (size**3 * channels[0]) ** 0.5)
