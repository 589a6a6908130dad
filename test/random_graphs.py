# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random poses, and what edges between them are, exact or noisy."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.spatial.transform import Rotation


def random_poses(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count, 4, 4) poses in a box of ten metres, the first at the identity."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=rng.integers(2**31)).as_matrix()
    poses[:, :3, 3] = rng.uniform(-5, 5, (count, 3))
    return np.linalg.inv(poses[0]) @ poses


def noise(rng: np.random.Generator, count: int, angle: float, distance: float) -> np.ndarray:
    """Return (count, 4, 4) small motions of so many radians and metres a coordinate."""
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, angle, (count, 3))).as_matrix()
    T[:, :3, 3] = rng.normal(0, distance, (count, 3))
    return T


def relative(poses: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return (E, 4, 4) T_i_j."""
    return np.linalg.inv(poses[i]) @ poses[j]


def all_pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the index arrays of all pairs i < j."""
    i, j = np.array(list(combinations(range(count), 2)), int).reshape(-1, 2).T
    return i, j
