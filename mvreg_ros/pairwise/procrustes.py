# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The closed-form weighted least-squares transformation (Eq. 4, solved by Eq. 22-27)."""

from __future__ import annotations

from mvreg_ros.rotations import project_to_rotation
import torch
from torch import Tensor

MIN_POINTS = 3


def weighted_procrustes(source: Tensor, target: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the rigid T that minimises sum_l w_l |T source_l - target_l|^2, and whether it exists.

    source, target: (..., K, 3) metres. weights: (..., K) >= 0; zeros pad pairs of unequal length.
    Returns T_target_source (..., 4, 4) in the dtype of the points and (...) bool, False where
    fewer than three points have weight or where they lie on a line; T is the identity there, and
    its gradient zero.
    """
    total = weights.sum(-1, keepdim=True)
    w = (weights / torch.where(total > 0, total, torch.ones_like(total)))[..., None]
    centre_source = (w * source).sum(-2, keepdim=True)  # Eq. 23
    centre_target = (w * target).sum(-2, keepdim=True)
    p, q = source - centre_source, target - centre_target  # Eq. 24
    covariance = q.transpose(-1, -2) @ (p * w)  # S^T of Eq. 25, without the K x K diagonal
    rotation, unique = project_to_rotation(covariance)  # Eq. 26
    translation = centre_target.transpose(-1, -2) - rotation @ centre_source.transpose(-1, -2)

    valid = unique & ((weights > 0).sum(-1) >= MIN_POINTS)
    identity = torch.eye(4, dtype=source.dtype, device=source.device)
    T = identity.repeat(*valid.shape, 1, 1)
    T[..., :3, :3], T[..., :3, 3:] = rotation, translation  # Eq. 27
    return torch.where(valid[..., None, None], T, identity), valid


def residuals(T: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Return |T source - target| of each correspondence: (..., K) metres."""
    moved = source @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]
    return (moved - target).norm(dim=-1)
