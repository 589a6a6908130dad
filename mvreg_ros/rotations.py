# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Projection to rotation matrices, with a gradient that exists where that of the SVD does not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# The stiffness of a rotation axis, relative to the largest singular value, below which any angle
# about the axis is as good: points beside a line by a hundredth of its length.
MIN_STIFFNESS = 1e-4


def least_stiffness(p: Tensor) -> Tensor:
    """Return (..., 1) the least sum of two of p (..., 3) that is one; its inverse is finite."""
    return (MIN_STIFFNESS * p[..., :1]).clamp(min=torch.finfo(p.dtype).tiny ** 0.5)


class NearestRotation(torch.autograd.Function):
    """
    R = U diag(1, 1, det U V^T) V^T of M = U S V^T, and whether it is unique.

    M = R P with P = V diag(p) V^T, where p is S with the sign in its last entry. A small step dM
    turns R by R W, and V^T (R^T dM - dM^T R) V = {(p_a + p_b) (V^T W V)_ab}: neither equal
    singular values nor the freedom of U and V matter. p_a + p_b is the stiffness of an axis.
    """

    @staticmethod
    def forward(ctx: Any, M: Tensor) -> tuple[Tensor, Tensor]:
        """Return R (..., 3, 3) and unique (...)."""
        u, p, vh = torch.linalg.svd(M)
        sign = torch.linalg.det(u @ vh).sign()
        mirror = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], -1)
        R, p = (u * mirror[..., None, :]) @ vh, p * mirror
        ctx.save_for_backward(R, p, vh)
        unique = p[..., 1] + p[..., 2] > least_stiffness(p)[..., 0]
        ctx.mark_non_differentiable(unique)
        return R, unique

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> Tensor:
        """Return the gradient of M; the turn about an axis without stiffness gets none."""
        R, p, vh = ctx.saved_tensors
        v = vh.transpose(-1, -2)
        moment = R.transpose(-1, -2) @ grad
        turn = vh @ (moment - moment.transpose(-1, -2)) @ v
        stiffness = p[..., :, None] + p[..., None, :]
        stiff = stiffness > least_stiffness(p)[..., None]
        turn = torch.where(stiff, turn / torch.where(stiff, stiffness, 1.0), 0.0)
        return R @ v @ turn @ vh


def project_to_rotation(M: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return the rotations nearest to matrices (..., 3, 3) in the Frobenius norm, and (...) unique.

    unique: False where others are as near: M has rank 1 or 0, or reflects and its two smallest
    singular values are equal. The gradient is that of the rotation, finite everywhere.
    """
    R, unique = NearestRotation.apply(M)
    return R, unique


def nearest_rotation(M: Tensor) -> Tensor:
    """Return the rotations nearest to matrices (..., 3, 3), see `project_to_rotation`."""
    return project_to_rotation(M)[0]
