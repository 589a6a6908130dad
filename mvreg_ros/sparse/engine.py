# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a network asks of a sparse convolution, and the engines that give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mvreg_ros.sparse.minkowski_engine import MinkowskiEngine
from mvreg_ros.sparse.torch_engine import TorchEngine
from mvreg_ros.types import InputError
from torch import Tensor


class SparseEngine(Protocol):
    """The occupied voxels of a batch of clouds at every stride, and convolution between them."""

    def coordinates(self, stride: int) -> Tensor:
        """
        Return the occupied voxels of a stride, (N_stride, 4) int64: batch, x, y, z.

        Those of stride 1 come as given; those of stride s are the unique floor(c / s) * s, in the
        engine's own order.
        """

    def convolve(
        self, features: Tensor, kernel: Tensor, stride_in: int, stride_out: int
    ) -> Tensor:
        """
        Return out[c] = sum over offsets o of features[c + o s] @ kernel[o], (N_out, Cout).

        features: (N_in, Cin), rows as coordinates(stride_in). kernel: (K^3, Cin, Cout), o of x
        fastest, from -(K // 2) where K is odd and from 0 where it is even, not flipped; s is the
        smaller stride. stride_out below stride_in is the transposed convolution onto the voxels
        there are: out[c + o s] = sum of features[c] @ kernel[o].
        """


ENGINES: dict[str, Callable[[Tensor], SparseEngine]] = {
    'torch': TorchEngine, 'minkowski': MinkowskiEngine}


def open_engine(name: str, coordinates: Tensor) -> SparseEngine:
    """
    Return the engine 'torch' or 'minkowski' for the voxels of a batch of clouds.

    coordinates: (N, 4) integers: batch, x, y, z, unique. Raises InputError where they are not, or
    where the engine does not exist or is not installed.
    """
    if name not in ENGINES:
        raise InputError(f'there is no sparse engine {name!r}: choose one of {", ".join(ENGINES)}')
    return ENGINES[name](coordinates)
