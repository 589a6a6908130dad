# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Occupied voxels as packed coordinates in Morton order.

A key holds the batch and, below it, the bits of z, y and x in turns. Among ascending keys the
voxels of any aligned cube of 2^n voxels lie together, and the key shifted by 3 n bits is that of
the cube.
"""

from __future__ import annotations

from mvreg_ros.types import InputError
import torch
from torch import Tensor

BITS = 18
CENTER = 2 ** (BITS - 1)
# Half of what the bits hold, so that what lies around a voxel has a key as well.
MAX_COORDINATE = 2 ** (BITS - 2)
MAX_BATCHES = 2**9
# The bits of a number in ever smaller groups, each two places further from the next than before.
SHIFTS = (32, 16, 8, 4, 2)
GROUPS = (0x1FFFFF, 0x1F00000000FFFF, 0x1F0000FF0000FF, 0x100F00F00F00F00F, 0x10C30C30C30C30C3,
          0x1249249249249249)


def pack(coordinates: Tensor) -> Tensor:
    """
    Return one key for each voxel, (N,) int64.

    coordinates: (N, 4) integers: batch, x, y, z. Raises InputError where they cannot be packed.
    """
    if coordinates.dim() != 2 or coordinates.shape[1] != 4 or coordinates.is_floating_point():
        raise InputError(
            f'voxels are (N, 4) integers (batch, x, y, z), not {tuple(coordinates.shape)} of '
            f'{coordinates.dtype}: take floor(points / voxel_size) and a column for the batch'
        )
    batch, xyz = coordinates[:, 0].long(), coordinates[:, 1:].long()
    if len(batch) and (int(batch.amin()) < 0 or int(batch.amax()) >= MAX_BATCHES):
        raise InputError(f'a batch has at most {MAX_BATCHES} clouds, numbered from 0: split it')
    if len(batch) and int(xyz.abs().amax()) >= MAX_COORDINATE:
        raise InputError(
            f'voxels lie within {MAX_COORDINATE} of the origin along each axis: '
            'centre the cloud, check its units or take larger voxels'
        )
    return batch << 3 * BITS | interleave(xyz + CENTER)


def sorted_keys(coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the keys of voxels (N, 4), ascending, and the rows they have in `coordinates`.

    Raises InputError where a voxel is there twice or cannot be packed.
    """
    keys, rows = torch.sort(pack(coordinates))
    if bool((keys[1:] == keys[:-1]).any()):
        raise InputError('a voxel is there twice: keep one point a voxel, as '
                         'mvreg_ros.features.voxels.voxel_down_sample does')
    return keys, rows


def level_of(stride: int) -> int:
    """Return the binary logarithm of a stride; raise InputError where it has none."""
    level = stride.bit_length() - 1
    if stride != 2**level or level > BITS // 2:
        raise InputError(f'strides are powers of two up to {2 ** (BITS // 2)}, not {stride}')
    return level


def unpack(keys: Tensor, shift: int) -> Tensor:
    """Return the least voxels of cubes of 2^shift voxels, (N, 4) int64: batch, x, y, z."""
    xyz = torch.stack([keys, keys >> 1, keys >> 2], 1) & (1 << 3 * (BITS - shift)) - 1
    xyz &= GROUPS[-1]
    for places, group in zip(reversed(SHIFTS), reversed(GROUPS[:-1]), strict=True):
        xyz = (xyz | xyz >> places) & group
    batch = keys >> 3 * (BITS - shift)
    return torch.cat([batch[:, None], (xyz << shift) - CENTER], 1)


def interleave(xyz: Tensor) -> Tensor:
    """Return the bits of (..., 3) integers below 2^21 in turns, those of x lowest, (...)."""
    for places, group in zip(SHIFTS, GROUPS[1:], strict=True):
        xyz = (xyz | xyz << places) & group
    return xyz[..., 0] | xyz[..., 1] << 1 | xyz[..., 2] << 2


def neighbors(keys: Tensor) -> Tensor:
    """Return the keys of a cube and the 26 around it, (N, 3, 3, 3), along z, y and x."""
    for axis in (2, 1, 0):
        own, unit = GROUPS[-1] << axis, 1 << axis
        # A carry runs through the bits of the other axes where they are all set.
        before, after = (keys & own) - unit, (keys | ~own) + unit
        rest = keys & ~own
        keys = torch.stack([before & own | rest, keys, after & own | rest], -1)
    return keys
