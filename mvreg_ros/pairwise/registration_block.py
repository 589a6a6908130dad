# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The pairwise registration block, psi_init and psi_iter: it tells inliers from outliers.

An order-aware network (Zhang et al., ICCV 2019) on the coordinates of the correspondences, as in
Fig. 6. Names and shapes of the weights are those of the released code, its misspelling included.
"""

from __future__ import annotations

from mvreg_ros.pairwise.masked_norm import (
    MaskedBatchNorm2d,
    MaskedInstanceNorm2d,
    MaskedSequential,
)
import torch
from torch import nn, Tensor

# The released network has both, and its weights were trained with them.
POINT_EPS, CLUSTER_EPS = 1e-5, 1e-3


class PointCN(nn.Module):
    """A residual block on single correspondences that see each other by normalisation only."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        """Build the block; the shortcut has weights where the channels change."""
        super().__init__()
        self.conv = MaskedSequential(
            MaskedInstanceNorm2d(POINT_EPS), MaskedBatchNorm2d(in_channels), nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1),
            MaskedInstanceNorm2d(POINT_EPS), MaskedBatchNorm2d(out_channels), nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 1),
        )
        same = in_channels == out_channels
        self.shot_cut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, out_channels, K, 1)."""
        return self.conv(x, mask) + self.shot_cut(x)


class ClusterLogits(nn.Module):
    """How much each correspondence belongs to each cluster, for pooling or for unpooling."""

    def __init__(self, channels: int, clusters: int) -> None:
        """Build the layers."""
        super().__init__()
        self.conv = MaskedSequential(
            MaskedInstanceNorm2d(CLUSTER_EPS), MaskedBatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, clusters, 1),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return (B, clusters, K)."""
        return self.conv(x, mask)[..., 0]


class Transpose(nn.Module):
    """Exchanges channels and clusters."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, M, C, 1) of (B, C, M, 1)."""
        return x.transpose(1, 2)


class OAFilter(nn.Module):
    """An order-aware filter: in the fixed order of the clusters they can be mixed by weights."""

    def __init__(self, channels: int, clusters: int) -> None:
        """Build the layers: over channels, over clusters, over channels."""
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.InstanceNorm2d(channels, eps=CLUSTER_EPS), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 1), Transpose(),
        )
        self.conv2 = nn.Sequential(
            nn.BatchNorm2d(clusters), nn.ReLU(), nn.Conv2d(clusters, clusters, 1)
        )
        self.conv3 = nn.Sequential(
            Transpose(), nn.InstanceNorm2d(channels, eps=CLUSTER_EPS), nn.BatchNorm2d(channels),
            nn.ReLU(), nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, clusters, 1)."""
        mixed = self.conv1(x)
        return x + self.conv3(mixed + self.conv2(mixed))


class RegistrationBlock(nn.Module):
    """
    Scores putative correspondences by what they agree on.

    in_channels: 6 for psi_init, 8 for psi_iter. depth: the PointCN before the pooling, the filters
    on clusters and the PointCN after the unpooling, of each so many.
    """

    def __init__(
        self, in_channels: int, width: int = 128, clusters: int = 500, depth: int = 3
    ) -> None:
        """Build the published network, or a smaller one of its kind."""
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.l1_1 = nn.ModuleList(PointCN(width, width) for _ in range(depth))
        self.down1 = ClusterLogits(width, clusters)
        self.l2 = nn.Sequential(*(OAFilter(width, clusters) for _ in range(depth)))
        self.up1 = ClusterLogits(width, clusters)
        self.l1_2 = nn.ModuleList(
            PointCN(2 * width if k == 0 else width, width) for k in range(depth)
        )
        self.output = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return logits (B, K) of being an inlier, and the features (B, K, width) they come from.

        x: (B, K, C), rows of p_i and phi(p_i, S_j), for psi_iter then weight and residual as it
        was trained with. mask: (B, K) bool, False for padding, one True or more in each row.
        Padding has no influence, whatever it holds, and comes out as 0.
        """
        padding = ~mask
        rows = mask[:, None, :, None]
        y = x.masked_fill(padding[..., None], 0).transpose(1, 2)[..., None]
        y = self.conv1(y)
        for block in self.l1_1:
            y = block(y, rows)
        pooling = self.down1(y, rows).masked_fill(padding[:, None], -torch.inf).softmax(2)
        clusters = self.l2((y[..., 0] @ pooling.transpose(1, 2))[..., None])
        unpooled = clusters[..., 0] @ self.up1(y, rows).softmax(1)
        y = torch.cat([y, unpooled[..., None]], 1)
        for block in self.l1_2:
            y = block(y, rows)
        logits = self.output(y)[:, 0, :, 0].masked_fill(padding, 0)
        return logits, y[..., 0].transpose(1, 2).masked_fill(padding[..., None], 0)


def correspondence_weights(logits: Tensor, mask: Tensor) -> Tensor:
    """
    Return tanh(ReLU(logits)), the weights (B, K) of Eq. 4, in [0, 1]; padding has 0.

    Where a pair would have no weight at all, its real correspondences share 1 equally, so that
    there always is a transformation.
    """
    real = mask.to(logits.dtype)
    weights = torch.tanh(torch.relu(logits)) * real
    nothing = weights.sum(1, keepdim=True) == 0
    return torch.where(nothing, real / real.sum(1, keepdim=True), weights)
