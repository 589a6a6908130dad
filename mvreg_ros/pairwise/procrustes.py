# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The closed-form weighted least-squares transformation (Eq. 4, solved by Eq. 22-27)."""

from __future__ import annotations

import torch
from torch import Tensor

# The second singular value of the covariance, relative to the first, below which the points lie on
# a line and the rotation about it is anybody's guess.
MIN_RELATIVE_SPREAD = 1e-6
MIN_POINTS = 3


def weighted_procrustes(source: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the rigid T that minimises sum_l w_l |T source_l - target_l|^2, and whether it exists.

    source, target: (..., K, 3) metres. weights: (..., K) >= 0; zeros pad pairs of unequal length.
    Returns T_target_source (..., 4, 4) in the dtype of the points and (...) bool, False where
    fewer than three points have weight or where they lie on a line; T is the identity there.
    """
    total = weights.sum(-1, keepdim=True)
    w = (weights / torch.where(total > 0, total, torch.ones_like(total)))[..., None]
    centre_source = (w * source).sum(-2, keepdim=True)  # Eq. 23
    centre_target = (w * target).sum(-2, keepdim=True)
    p, q = source - centre_source, target - centre_target  # Eq. 24
    covariance = (p * w).transpose(-1, -2) @ q  # Eq. 25, without the K x K diagonal
    u, spread, vh = torch.linalg.svd(covariance)
    v, ut = vh.transpose(-1, -2), u.transpose(-1, -2)
    sign = torch.linalg.det(v @ ut).sign()  # Eq. 26: -1 where the best orthogonal map reflects
    one = torch.ones_like(sign)
    rotation = (v * torch.stack([one, one, sign], -1)[..., None, :]) @ ut
    translation = centre_target.transpose(-1, -2) - rotation @ centre_source.transpose(-1, -2)

    enough = (weights > 0).sum(-1) >= MIN_POINTS
    valid = enough & (spread[..., 1] > MIN_RELATIVE_SPREAD * spread[..., 0])
    T = torch.eye(4, dtype=source.dtype, device=source.device).repeat(*sign.shape, 1, 1)
    T[..., :3, :3], T[..., :3, 3:] = rotation, translation  # Eq. 27
    identity = torch.eye(4, dtype=source.dtype, device=source.device).expand_as(T)
    return torch.where(valid[..., None, None], T, identity), valid


def residuals(T: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Return |T source - target| of each correspondence: (..., K) metres."""
    moved = source @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]
    return (moved - target).norm(dim=-1)
