# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Putative correspondences that can be differentiated: the soft nearest neighbours of Eq. 9."""

from __future__ import annotations

from functools import partial

from mvreg_ros.pairwise.matching import row_argmax
import torch
from torch import nn, Tensor
from torch.utils.checkpoint import checkpoint

MIN_TEMPERATURE = 1e-4
# Tables of a block of rows that live at the same time in the backward pass.
TABLES = 4


class SoftNearestNeighbors(nn.Module):
    """
    phi(p, Q) = s^T Q: the average of the points of Q, weighted by how like p their features are.

    s = softmax(-d / t) over squared distances d of features, t = max(temperature^2, 1e-4), as in
    the released code, so that its temperature means the same; unlike there the gradient reaches
    the features. straight_through: the forward pass takes the nearest neighbour itself, of equals
    the first, and the backward pass differentiates the soft weights. max_bytes: the N x M weights
    are made in blocks of rows that need no more, in the forward as in the backward pass, and are
    never kept; at least one row is made whole.
    """

    def __init__(self, straight_through: bool = True, max_bytes: int = 16_000_000) -> None:
        """Start at the released temperature, t = 0.09."""
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.3))
        self.straight_through = straight_through
        self.max_bytes = max_bytes

    def forward(self, features_p: Tensor, features_q: Tensor, points_q: Tensor) -> Tensor:
        """
        Return (N, 3), the correspondence in Q of each point of P.

        features_p: (N, D); features_q: (M, D); points_q: (M, 3) metres, M >= 1.
        """
        t = self.temperature.square().clamp(min=MIN_TEMPERATURE)
        row_bytes = TABLES * len(features_q) * features_q.element_size()
        rows = max(1, self.max_bytes // row_bytes)
        block = partial(self._block, features_q=features_q, points_q=points_q, t=t)
        if torch.is_grad_enabled():
            # What a block computes is forgotten, and computed again for its gradient.
            block = partial(checkpoint, block, use_reentrant=False, preserve_rng_state=False)
        # Between unit features half precision cannot tell near from nearest.
        with torch.autocast(features_q.device.type, enabled=False):
            return torch.cat([block(rows_p) for rows_p in features_p.split(rows)])

    def _block(
        self, features_p: Tensor, features_q: Tensor, points_q: Tensor, t: Tensor
    ) -> Tensor:
        """Return the correspondences of some rows of P."""
        # -d / 2 without |p|^2, which is the same in a row and changes neither s nor the maximum.
        likeness = torch.addmm(-features_q.square().sum(1) / 2, features_p, features_q.T)
        if not self.straight_through:
            return torch.softmax(likeness * (2 / t), 1) @ points_q
        nearest = points_q[row_argmax(likeness.detach())]
        if not likeness.requires_grad:
            return nearest
        soft = torch.softmax(likeness * (2 / t), 1) @ points_q.detach()
        return nearest + (soft - soft.detach())
