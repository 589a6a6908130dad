# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The learned local confidence of a relative pose (Eq. 12-13)."""

from __future__ import annotations

from mvreg_ros.pairwise.confidence import HALF, SLOPE
import torch
from torch import nn, Tensor

INLIER_WEIGHT = 0.5


class ConfidenceBlock(nn.Module):
    """
    zeta_init: tells right relative poses from wrong ones.

    width: of the features of the registration block. The logits become c_local by a sigmoid, which
    the cross entropy of the paper's confidence loss implies.
    """

    def __init__(self, width: int = 128) -> None:
        """Build the MLP, 129-64-32-1 for the published width."""
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width + 1, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, features: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """
        Return the logits (B,) of c_local.

        features: (B, K, width) and weights: (B, K) of the correspondences. mask: (B, K) bool,
        False for padding, which has no influence.
        """
        weights = weights.masked_fill(~mask, 0)
        features = features.masked_fill(~mask[..., None], 0)
        return self.mlp(torch.cat([
            overlap_pooling(features, weights), inlier_ratio(weights, mask)[:, None]
        ], 1))[:, 0]


class InlierConfidence(nn.Module):
    """
    In the place of `ConfidenceBlock` where there are no weights for it, as in what was published.

    The curve of `pairwise/confidence.py` over the number of correspondences with weight > 0.5.
    """

    def forward(self, features: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """Return the logits (B,) of c_local."""
        count = ((weights > INLIER_WEIGHT) & mask).sum(1)
        return SLOPE * (count.clamp(min=1e-3) / HALF).log()


def overlap_pooling(features: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted average (B, C) of features (B, K, C) (Eq. 12); 0 without any weight."""
    total = weights.sum(1, keepdim=True)
    share = weights / torch.where(total > 0, total, torch.ones_like(total))
    return (share[:, None] @ features)[:, 0]


def inlier_ratio(weights: Tensor, mask: Tensor) -> Tensor:
    """Return delta (B,), the share of correspondences with weight > 0.5: a count, no gradient."""
    return ((weights > INLIER_WEIGHT) & mask).sum(1) / mask.sum(1)
