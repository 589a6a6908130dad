# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution with torch alone: wherever torch runs, nothing to build."""

from __future__ import annotations

from mvreg_ros.sparse.convolution import SparseConvolution
from mvreg_ros.sparse.coordinates import MAX_STRIDE, pack, unpack, Voxels
from mvreg_ros.sparse.kernel_map import Block, kernel_map
from mvreg_ros.types import InputError
from torch import Tensor


class TorchEngine:
    """The `SparseEngine` on torch tensors; levels and kernel maps are made at first use."""

    def __init__(self, coordinates: Tensor) -> None:
        """Take (N, 4) voxels: batch, x, y, z; raise InputError where they cannot be used."""
        self._levels = {1: Voxels(pack(coordinates))}
        self._maps: dict[tuple[int, int, int, bool], list[Block]] = {}

    def coordinates(self, stride: int) -> Tensor:
        """Return the voxels of a stride, (N_stride, 4) int64: batch, x, y, z."""
        return unpack(self._level(stride).keys)

    def convolve(
        self, features: Tensor, kernel: Tensor, stride_in: int, stride_out: int
    ) -> Tensor:
        """Return the convolution, as `SparseEngine` says."""
        size = round(len(kernel) ** (1 / 3))
        mirrored = stride_out < stride_in
        flips = stride_in == stride_out and size % 2 == 1

        def adjoint() -> tuple[list[Block], bool]:
            if flips:
                return self._map(stride_in, stride_out, size, mirrored), True
            return self._map(stride_out, stride_in, size, not mirrored), False

        return SparseConvolution.apply(
            features, kernel, self._map(stride_in, stride_out, size, mirrored),
            len(self._level(stride_out)), adjoint)

    def _level(self, stride: int) -> Voxels:
        """Return the voxels of a stride."""
        if stride not in self._levels:
            if stride not in (2**k for k in range(MAX_STRIDE.bit_length())):
                raise InputError(f'strides are powers of two up to {MAX_STRIDE}, not {stride}')
            self._levels[stride] = self._levels[1].coarser(stride)
        return self._levels[stride]

    def _map(self, stride_in: int, stride_out: int, size: int, mirrored: bool) -> list[Block]:
        """Return the pairs of a convolution."""
        key = stride_in, stride_out, size, mirrored
        if key not in self._maps:
            self._maps[key] = kernel_map(
                self._level(stride_in), self._level(stride_out), size, stride_in, stride_out,
                mirrored)
        return self._maps[key]
