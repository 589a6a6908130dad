# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A random rigid motion, and points moved by one."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation
import torch


def random_pose(rng: np.random.Generator) -> torch.Tensor:
    """Return a random rigid motion (4, 4)."""
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
    T[:3, 3] = rng.uniform(-3, 3, 3)
    return torch.from_numpy(T)


def transform(T: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the points (N, 3) moved by T."""
    return points @ T[:3, :3].T + T[:3, 3]
