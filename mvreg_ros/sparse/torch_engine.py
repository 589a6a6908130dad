# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution wherever torch runs, nothing to build; faster by the native kernel."""

from __future__ import annotations

from functools import partial

from mvreg_ros.sparse.bricks import Bricks
from mvreg_ros.sparse.convolution import FewChannelsConvolution, SparseConvolution
from mvreg_ros.sparse.coordinates import level_of, sorted_keys, unpack
from mvreg_ros.sparse.kernel_map import Block, kernel_map, size_of
from mvreg_ros.types import InputError
import torch
from torch import Tensor

# Of so few channels a voxel takes its surroundings along, occupied or not.
FEW_CHANNELS = 4


class TorchEngine:
    """
    The `SparseEngine` on torch tensors; levels and kernel maps are made at first use and kept.

    The same input gives the same output, bit for bit, on the CPU. Kept are 8 bytes for each pair
    of voxels that a kernel brings together, 12 without the native kernel. Fastest where the voxels
    are given as `sorted_keys` orders them.
    """

    def __init__(self, coordinates: Tensor) -> None:
        """Take (N, 4) voxels: batch, x, y, z; raise InputError where they cannot be used."""
        keys, order = sorted_keys(coordinates)
        self._given = coordinates.long()
        self._order = None if bool((order[1:] > order[:-1]).all()) else order
        # By the binary logarithm of the stride, in units of the stride.
        self._keys = {0: keys}
        self._bricks: dict[tuple[int, int], Bricks] = {}
        self._maps: dict[tuple[int, int, int, bool], list[Block]] = {}

    def coordinates(self, stride: int) -> Tensor:
        """Return the voxels of a stride, (N_stride, 4) int64: batch, x, y, z."""
        level = level_of(stride)
        return unpack(self._level(level), level) if level else self._given

    def convolve(
        self, features: Tensor, kernel: Tensor, stride_in: int, stride_out: int
    ) -> Tensor:
        """Return the convolution, as `SparseEngine` says."""
        level_in, level_out, size = level_of(stride_in), level_of(stride_out), size_of(kernel)
        voxels, channels = len(self._level(level_in)), kernel.shape[1]
        if features.shape != (voxels, channels):  # the native kernel would read what is not theirs
            raise InputError(f'features {tuple(features.shape)} for {voxels} voxels of stride '
                             f'{stride_in} and a kernel of {channels} channels')
        if level_in == 0 and self._order is not None:
            features = features.index_select(0, self._order)
        mirrored = level_out < level_in
        if channels <= FEW_CHANNELS and not features.requires_grad:
            fine = min(level_in, level_out)
            out = FewChannelsConvolution.apply(
                features, kernel, self._bricks_of(level_in, fine),
                self._level(level_out) << 3 * (level_out - fine), mirrored)
        else:
            out = SparseConvolution.apply(
                features, kernel, self._map(level_in, level_out, size, mirrored),
                len(self._level(level_out)),
                partial(self._adjoint, level_in, level_out, size, mirrored))
        if level_out == 0 and self._order is not None:
            out = torch.empty_like(out).index_copy(0, self._order, out)
        return out

    def _adjoint(
        self, level_in: int, level_out: int, size: int, mirrored: bool
    ) -> tuple[list[Block], bool]:
        """Return the pairs of the way back, and whether its kernel is the flipped one."""
        if level_in == level_out and size % 2:
            return self._map(level_in, level_out, size, mirrored), True
        return self._map(level_out, level_in, size, not mirrored), False

    def _level(self, level: int) -> Tensor:
        """Return the keys of the voxels of stride 2^level, ascending."""
        if level not in self._keys:
            self._keys[level] = torch.unique_consecutive(self._keys[0] >> 3 * level)
        return self._keys[level]

    def _bricks_of(self, level: int, fine: int) -> Bricks:
        """Return the voxels of stride 2^level in bricks of cells of 2^fine."""
        if (level, fine) not in self._bricks:
            self._bricks[level, fine] = Bricks(self._level(level) << 3 * (level - fine))
        return self._bricks[level, fine]

    def _map(self, level_in: int, level_out: int, size: int, mirrored: bool) -> list[Block]:
        """Return the pairs of a convolution."""
        key = level_in, level_out, size, mirrored
        if key not in self._maps:
            fine = min(level_in, level_out)
            self._maps[key] = kernel_map(
                self._bricks_of(level_in, fine), self._level(level_out) << 3 * (level_out - fine),
                size, 2 ** (level_in - fine), mirrored)
        return self._maps[key]
