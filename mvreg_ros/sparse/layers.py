# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Layers of sparse networks, with the parameter names of MinkowskiEngine."""

from __future__ import annotations

from mvreg_ros.sparse.engine import SparseEngine
import torch
from torch import nn, Tensor


class Convolution(nn.Module):
    """
    Sparse convolution from the voxels of one stride to those of another.

    Parameters: `kernel` (kernel_size^3, in_channels, out_channels), or (in_channels, out_channels)
    where kernel_size is 1; `bias` (1, out_channels). With stride_out below stride_in it is the
    transposed convolution. Starts from MinkowskiEngine's uniform distribution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride_in: int = 1,
        stride_out: int = 1, bias: bool = False,
    ) -> None:
        super().__init__()
        self.stride_in, self.stride_out = stride_in, stride_out
        offsets = kernel_size**3
        shape = (in_channels, out_channels) if offsets == 1 else (
            offsets, in_channels, out_channels)
        bound = (offsets * (out_channels if stride_out < stride_in else in_channels)) ** -0.5
        self.kernel = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(
            torch.empty(1, out_channels).uniform_(-bound, bound)) if bias else None

    def forward(self, features: Tensor, engine: SparseEngine) -> Tensor:
        """Map (N_in, in_channels) to (N_out, out_channels), rows as the engine's coordinates."""
        if self.kernel.dim() == 2:
            out = features @ self.kernel
        else:
            kernel = self.kernel.to(features.dtype)  # half precision under autocast
            out = engine.convolve(features, kernel, self.stride_in, self.stride_out)
        return out if self.bias is None else out + self.bias


class BatchNorm(nn.Module):
    """Batch normalisation over all voxels of all clouds of the batch."""

    def __init__(self, channels: int, momentum: float = 0.05) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, momentum=momentum)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (N, channels)."""
        return self.bn(features)
