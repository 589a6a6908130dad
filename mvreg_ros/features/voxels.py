# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Voxel down-sampling as FCGF's: one point a voxel, the first in input order."""

from __future__ import annotations

from mvreg_ros.types import InputError
import numpy as np
import torch
from torch import Tensor

# Three coordinates of this many bits fit into one int64 key.
COORDINATE_BITS = 20


def pack(coordinates: Tensor) -> Tensor:
    """
    Return one int64 key for each row of non-negative voxel coordinates, x slowest, z fastest.

    coordinates: (N, 3) int64 below 2**20. Keys of cells that are neighbours in z are consecutive.
    """
    x, y, z = coordinates.unbind(1)
    return (x << 2 * COORDINATE_BITS) | (y << COORDINATE_BITS) | z


def voxel_coordinates(points: Tensor, voxel_size: float) -> Tensor:
    """
    Return the voxel of each point, floor(point / voxel_size), shifted so that the least is 1.

    points: (N, 3) metres. Returns (N, 3) int64. Raises InputError where the cloud is larger than
    2**20 voxels along an axis, which means wrong units or a stray point.
    """
    cells = torch.floor(points / voxel_size).to(torch.int64)
    cells = cells - cells.amin(0) + 1
    if int(cells.amax()) >= 2**COORDINATE_BITS - 1:
        extent = float((points.amax(0) - points.amin(0)).amax())
        raise InputError(
            f'a cloud of {extent:.6g} m is too large for voxels of {voxel_size:g} m: '
            'check its units (metres) and remove stray points'
        )
    return cells


def voxel_down_sample(points: Tensor, voxel_size: float) -> Tensor:
    """
    Return the indices of the first point in each voxel, ascending; doing it twice changes nothing.

    points: (N, 3) metres. Returns (M,) int64. Raises InputError as `voxel_coordinates` does.
    """
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.int64, device=points.device)
    cells = pack(voxel_coordinates(points, voxel_size))
    if points.device.type == 'cpu':
        # NumPy sorts without indices much faster, which is enough where nothing is left out.
        ascending = np.sort(cells.numpy())
        if (ascending[1:] != ascending[:-1]).all():
            return torch.arange(len(points), device=points.device)
    keys, order = torch.sort(cells, stable=True)
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    return torch.sort(order[first]).values


def voxel_means(points: Tensor, values: Tensor, voxel_size: float) -> Tensor:
    """
    Return the mean of the values in each voxel, (M, C), in the order of the voxels.

    points: (N, 3) metres; values: (N, C). Raises InputError as `voxel_coordinates` does.
    """
    if len(points) == 0:
        return values
    _, voxel, counts = torch.unique(
        pack(voxel_coordinates(points, voxel_size)), return_inverse=True, return_counts=True)
    sums = values.new_zeros(len(counts), values.shape[1]).index_add_(0, voxel, values)
    return sums / counts[:, None]


def voxel_counts(points: Tensor, voxel_size: float) -> Tensor:
    """
    Return how many points are in each voxel, (M,) int64, in the order of the voxels.

    points: (N, 3) metres. Raises InputError as `voxel_coordinates` does.
    """
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.int64, device=points.device)
    keys = pack(voxel_coordinates(points, voxel_size))
    return torch.unique(keys, return_counts=True)[1]
