# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Occupied voxels of one stride as sorted packed coordinates."""

from __future__ import annotations

from mvreg_ros.types import InputError
import torch
from torch import Tensor

# A key holds batch, z, y and x, the last fastest as in the kernels; 9 + 3 x 18 bits.
BITS = 18
CENTER = 2 ** (BITS - 1)
# Half of what a field holds: what is left keeps a kernel's reach out of the next field.
MAX_COORDINATE = 2**16
MAX_BATCHES = 2**9
MAX_STRIDE = 2**12


def pack(coordinates: Tensor) -> Tensor:
    """
    Return one key for each voxel, (N,) int64.

    coordinates: (N, 4) integers: batch, x, y, z. Raises InputError where they cannot be packed.
    """
    if coordinates.dim() != 2 or coordinates.shape[1] != 4 or coordinates.is_floating_point():
        raise InputError(
            f'voxels are (N, 4) integers (batch, x, y, z), not {tuple(coordinates.shape)} '
            f'{coordinates.dtype}: floor(points / voxel_size) and a column for the batch'
        )
    b, x, y, z = coordinates.long().unbind(1)
    if len(b) and (int(b.amin()) < 0 or int(b.amax()) >= MAX_BATCHES):
        raise InputError(f'a batch has at most {MAX_BATCHES} clouds, numbered from 0: split it')
    if len(b) and int(coordinates[:, 1:].abs().amax()) >= MAX_COORDINATE:
        raise InputError(
            f'voxel coordinates are below {MAX_COORDINATE} either side of zero: '
            'centre the cloud, check its units or take larger voxels'
        )
    return (b << 3 * BITS) + offset(x, y, z) + offset(CENTER, CENTER, CENTER)


def offset(x: Tensor | int, y: Tensor | int, z: Tensor | int) -> Tensor | int:
    """Return the difference of keys between a voxel and the one (x, y, z) further."""
    return (z << 2 * BITS) + (y << BITS) + x


def unpack(keys: Tensor) -> Tensor:
    """Return the voxels of keys, (N, 4) int64: batch, x, y, z."""
    field = 2**BITS - 1
    return torch.stack([
        keys >> 3 * BITS, *((keys >> shift & field) - CENTER for shift in (0, BITS, 2 * BITS)),
    ], 1)


def coarser(keys: Tensor, stride: int) -> Tensor:
    """Return the voxels of a larger stride (a power of two) that hold these, ascending."""
    return torch.unique(keys & ~offset(stride - 1, stride - 1, stride - 1))
