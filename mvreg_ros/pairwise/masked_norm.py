# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Instance and batch normalisation of a batch of pairs with different numbers of correspondences.

Tensors are (B, C, K, 1), as in the released network; a mask (B, 1, K, 1) bool tells the K real
correspondences of each pair from padding, which has no part in any mean or variance. Without
padding the layers are those of torch.nn.
"""

from __future__ import annotations

import torch
from torch import nn, Tensor


class MaskedInstanceNorm2d(nn.Module):
    """`torch.nn.InstanceNorm2d` over the real correspondences of each pair (Eq. 36)."""

    def __init__(self, eps: float) -> None:
        """Have no weights and no state."""
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return x with mean 0 and variance 1 in each pair and channel; padding is 0."""
        # Half precision, in which autocast convolves, cannot hold the sums.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        real = mask.to(x.dtype)
        count = real.sum(2, keepdim=True)
        centered = (x - (x * real).sum(2, keepdim=True) / count) * real
        variance = centered.square().sum(2, keepdim=True) / count
        return centered * (variance + self.eps).rsqrt()


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over the real correspondences of all pairs of the batch."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Return x normalised in each channel; in training padding is 0."""
        if not self.training:
            return super().forward(x)
        rows, real = x.permute(0, 2, 3, 1), mask[:, 0]
        normalized = super().forward(rows[real][..., None, None])[..., 0, 0]
        padded = normalized.new_zeros(rows.shape).index_put((real,), normalized)
        return padded.permute(0, 3, 1, 2)


class MaskedSequential(nn.Sequential):
    """A chain of layers of which the normalisations are given the mask."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Return what the last layer returns."""
        for layer in self:
            takes_mask = isinstance(layer, (MaskedInstanceNorm2d, MaskedBatchNorm2d))
            x = layer(x, mask) if takes_mask else layer(x)
        return x
