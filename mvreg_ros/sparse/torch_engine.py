# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution with torch alone: wherever torch runs, nothing to build."""

from __future__ import annotations

from mvreg_ros.sparse.bricks import Bricks
from mvreg_ros.sparse.convolution import FewChannelsConvolution, SparseConvolution
from mvreg_ros.sparse.coordinates import coarser, MAX_STRIDE, pack, unpack
from mvreg_ros.sparse.kernel_map import Block, kernel_map
from mvreg_ros.types import InputError
import torch
from torch import Tensor


class TorchEngine:
    """The `SparseEngine` on torch tensors; levels and kernel maps are made at first use."""

    def __init__(self, coordinates: Tensor) -> None:
        """Take (N, 4) voxels: batch, x, y, z; raise InputError where they cannot be used."""
        self._keys = {1: pack(coordinates)}
        self._bricks: dict[tuple[int, int], Bricks] = {}
        self._maps: dict[tuple[int, int, int, bool], list[Block]] = {}

    def coordinates(self, stride: int) -> Tensor:
        """Return the voxels of a stride, (N_stride, 4) int64: batch, x, y, z."""
        return unpack(self._level(stride))

    def convolve(
        self, features: Tensor, kernel: Tensor, stride_in: int, stride_out: int
    ) -> Tensor:
        """Return the convolution, as `SparseEngine` says."""
        size = round(len(kernel) ** (1 / 3))
        mirrored = stride_out < stride_in
        if kernel.shape[1] <= 4 and not features.requires_grad:
            return FewChannelsConvolution.apply(
                features, kernel, self._bricks_of(stride_in, min(stride_in, stride_out)),
                self._level(stride_out), mirrored)
        flips = stride_in == stride_out and size % 2 == 1

        def adjoint() -> tuple[list[Block], bool]:
            if flips:
                return self._map(stride_in, stride_out, size, mirrored), True
            return self._map(stride_out, stride_in, size, not mirrored), False

        return SparseConvolution.apply(
            features, kernel, self._map(stride_in, stride_out, size, mirrored),
            len(self._level(stride_out)), adjoint)

    def _level(self, stride: int) -> Tensor:
        """Return the voxels of a stride."""
        if stride not in self._keys:
            if stride not in (2**k for k in range(MAX_STRIDE.bit_length())):
                raise InputError(f'strides are powers of two up to {MAX_STRIDE}, not {stride}')
            self._keys[stride] = coarser(self._keys[1], stride)
        return self._keys[stride]

    def _bricks_of(self, stride: int, step: int) -> Bricks:
        if (stride, step) not in self._bricks:
            self._bricks[stride, step] = Bricks(self._level(stride), step)
        return self._bricks[stride, step]

    def _map(self, stride_in: int, stride_out: int, size: int, mirrored: bool) -> list[Block]:
        """Return the pairs of a convolution."""
        key = stride_in, stride_out, size, mirrored
        if key not in self._maps:
            source = self._level(stride_in)
            self._maps[key] = kernel_map(
                self._bricks_of(stride_in, min(stride_in, stride_out)),
                torch.arange(len(source), dtype=torch.int32, device=source.device),
                self._level(stride_out), size, max(1, stride_in // stride_out), mirrored)
        return self._maps[key]
