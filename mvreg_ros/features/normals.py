# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Surface normals by principal components, turned towards the sensor."""

from __future__ import annotations

from mvreg_ros.features.neighbors import radius_neighbors
import torch
from torch import Tensor

MIN_NEIGHBORS = 4


def estimate_normals(queries: Tensor, points: Tensor, radius: float, viewpoint: Tensor) -> Tensor:
    """
    Return the direction of least spread of the points around each query, facing `viewpoint`.

    queries: (Q, 3), points: (N, 3), viewpoint: (3,), one frame, metres. Returns (Q, 3) unit
    vectors. A query with fewer than four neighbours gets the direction to the viewpoint.
    """
    near = radius_neighbors(queries, points, radius)
    query = near.query
    offset = points[near.index] - queries[query]
    count = near.counts.clamp(min=1).to(points.dtype)[:, None]
    mean = torch.zeros_like(queries).index_add_(0, query, offset) / count
    outer = (offset[:, :, None] * offset[:, None, :]).reshape(-1, 9)
    second = torch.zeros(len(queries), 9, dtype=points.dtype, device=points.device)
    second = (second.index_add_(0, query, outer) / count).reshape(-1, 3, 3)
    covariance = second - mean[:, :, None] * mean[:, None, :]

    towards = viewpoint - queries
    towards = towards / towards.norm(dim=1, keepdim=True).clamp(min=1e-9)
    normals = torch.linalg.eigh(covariance).eigenvectors[:, :, 0]
    normals = torch.where((normals * towards).sum(1, keepdim=True) < 0, -normals, normals)
    return torch.where((near.counts < MIN_NEIGHBORS)[:, None], towards, normals)
