# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution by MinkowskiEngine 0.5.4, on the CPU; `make minkowski` builds it."""

from __future__ import annotations

from importlib import import_module

from mvreg_ros.sparse.coordinates import level_of, sorted_keys
from mvreg_ros.sparse.kernel_map import size_of
from mvreg_ros.types import InputError
from torch import Tensor


class MinkowskiEngine:
    """The `SparseEngine` on a coordinate manager of MinkowskiEngine."""

    def __init__(self, coordinates: Tensor) -> None:
        """
        Take (N, 4) voxels: batch, x, y, z.

        Raises InputError where they cannot be used or MinkowskiEngine cannot.
        """
        try:
            # By name: it is on no list of requirements, because pip alone cannot install it.
            self._library = import_module('MinkowskiEngine')
            backend = import_module('MinkowskiEngineBackend._C')
        except ImportError as error:
            raise InputError(
                f'MinkowskiEngine cannot be imported ({error}): '
                'build it with `make minkowski`, or choose the engine torch'
            ) from error
        if coordinates.device.type != 'cpu':
            raise InputError('the engine minkowski works on the CPU: choose the engine torch')
        sorted_keys(coordinates)  # refuses what the engine torch refuses
        self._mode = backend.ConvolutionMode.DEFAULT
        self._given = coordinates.long()
        self._manager = self._library.CoordinateManager(
            D=3, coordinate_map_type=self._library.CoordinateMapType.CPU)
        key, _ = self._manager.insert_and_map(coordinates.int().contiguous(), 1)
        self._keys = {1: key}

    def coordinates(self, stride: int) -> Tensor:
        """Return the voxels of a stride, (N_stride, 4) int64: batch, x, y, z."""
        if stride == 1:
            return self._given
        return self._manager.get_coordinates(self._key(stride)).long()

    def convolve(
        self, features: Tensor, kernel: Tensor, stride_in: int, stride_out: int
    ) -> Tensor:
        """Return the convolution, as `SparseEngine` says."""
        library = self._library
        function = library.MinkowskiConvolutionFunction
        if stride_out < stride_in:
            function = library.MinkowskiConvolutionTransposeFunction
        generator = library.KernelGenerator(
            kernel_size=size_of(kernel), dimension=3,
            stride=max(stride_in, stride_out) // min(stride_in, stride_out))
        return function.apply(
            features, kernel, generator, self._mode,
            self._key(stride_in), self._key(stride_out), self._manager)

    def _key(self, stride: int) -> object:
        """Return the manager's key of the voxels of a stride."""
        if stride not in self._keys:
            level_of(stride)
            self._keys[stride] = self._manager.stride(self._keys[1], stride)
        return self._keys[stride]
