# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Surface normals by principal components, turned towards the sensor."""

from __future__ import annotations

from mvreg_ros.features import native_operators
from mvreg_ros.features.neighbors import Neighbors, radius_neighbors
from mvreg_ros.native import dispatch
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
    native = dispatch.serves(queries, points)
    spread = (native_operators.covariances if native else covariances)(queries, points, near)
    towards = viewpoint - queries
    towards = towards / towards.norm(dim=1, keepdim=True).clamp(min=1e-9)
    normals = torch.linalg.eigh(spread).eigenvectors[:, :, 0]
    normals = torch.where((normals * towards).sum(1, keepdim=True) < 0, -normals, normals)
    return torch.where((near.counts < MIN_NEIGHBORS)[:, None], towards, normals)


def covariances(queries: Tensor, points: Tensor, near: Neighbors) -> Tensor:
    """Return (Q, 3, 3), the covariance of the neighbours of each query, zero without any."""
    query = near.query
    offset = points[near.index] - queries[query]
    count = near.counts.clamp(min=1).to(points.dtype)[:, None]
    mean = torch.zeros_like(queries).index_add_(0, query, offset) / count
    outer = (offset[:, :, None] * offset[:, None, :]).reshape(-1, 9)
    second = torch.zeros(len(queries), 9, dtype=points.dtype, device=points.device)
    second = (second.index_add_(0, query, outer) / count).reshape(-1, 3, 3)
    return second - mean[:, :, None] * mean[:, None, :]
