# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How well a set of weighted correspondences determines a relative pose."""

from __future__ import annotations

import torch
from torch import Tensor


def correspondence_information(points_j: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """
    Return the (6, 6) information of T_i_j: sum_l w_l G_l^T G_l / sigma^2, G = [I | -[p]x].

    points_j: (K, 3) in the frame of fragment j; weights: (K,); sigma: metres, of one coordinate of
    a correspondence. Translation before rotation.
    """
    zero = torch.zeros_like(points_j[:, 0])
    x, y, z = points_j.unbind(1)
    minus_cross = torch.stack(
        [zero, z, -y, -z, zero, x, y, -x, zero], 1
    ).reshape(-1, 3, 3)
    eye = torch.eye(3, dtype=points_j.dtype, device=points_j.device).expand_as(minus_cross)
    G = torch.cat([eye, minus_cross], 2)
    rows = (weights.sqrt()[:, None, None] * G).reshape(-1, 6)
    return rows.T @ rows / sigma**2
