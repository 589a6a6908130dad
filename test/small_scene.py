# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A hilly field in overlapping fragments, in the layout of 3DMatch: quick, and easy to solve."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from mvreg_ros.data.logs import write_info, write_log
from mvreg_ros.data.ply import encode_ply
import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

VOXEL_SIZE = 0.06
CENTERS = np.array([[1.2, 1.5], [2.6, 2.4], [4.0, 1.6], [5.2, 2.6], [3.2, 1.0]])
RADIUS = 1.6


def hills(rng: np.random.Generator) -> np.ndarray:
    """Return points (N, 3) of a field with a hundred hills and hollows, z up."""
    ground = rng.uniform((0, 0), (6.5, 4), (120000, 2))
    height = np.zeros(len(ground))
    for _ in range(100):
        distance = np.linalg.norm(ground - rng.uniform((0, 0), (6.5, 4)), axis=1)
        height += rng.uniform(-0.5, 0.5) * np.exp(-(distance / rng.uniform(0.15, 0.4)) ** 2)
    return np.column_stack([ground, height])


def fragments(seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return five clouds (N, 3) in frames of their own, and T_field_fragment (5, 4, 4)."""
    rng = np.random.default_rng(seed)
    field = hills(rng)
    clouds, poses = [], []
    for center in CENTERS:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler('z', rng.uniform(0, 360), degrees=True).as_matrix()
        # Far from the middle of the fragment, where a frame may well be.
        T[:3, 3] = *(center + np.array([1.0, -0.8])), 2.0
        near = field[np.linalg.norm(field[:, :2] - center, axis=1) < RADIUS]
        local = (near - T[:3, 3]) @ T[:3, :3]
        clouds.append((local + rng.normal(0, 0.003, local.shape)).astype(np.float32))
        poses.append(T)
    return clouds, np.stack(poses)


def information(points: np.ndarray) -> np.ndarray:
    """Return the matrix of `gt.info` of points (N, 3): the sum of [I | -[p]x]^T [I | -[p]x]."""
    G = np.zeros((len(points), 3, 6))
    G[:, :, :3] = np.eye(3)
    x, y, z = points.T
    G[:, 0, 4], G[:, 0, 5], G[:, 1, 3] = z, -y, -z
    G[:, 1, 5], G[:, 2, 3], G[:, 2, 4] = x, y, -x
    return np.einsum('nki,nkj->ij', G, G)


def write_scene(root: Path, name: str) -> None:
    """Write the clouds and the pairs with more than 20 % overlap as benchmark 3DMatch."""
    clouds, poses = fragments()
    folder, benchmark = root / 'fragments' / name, root / 'benchmarks' / '3DMatch' / name
    folder.mkdir(parents=True)
    benchmark.mkdir(parents=True)
    for k, cloud in enumerate(clouds):
        data = encode_ply(cloud)
        (folder / f'cloud_bin_{k}.ply').write_bytes(data)
    truth, weights, overlaps = {}, {}, []
    for i, j in combinations(range(len(clouds)), 2):
        T_i_j = np.linalg.inv(poses[i]) @ poses[j]
        distance, _ = cKDTree(clouds[i]).query(clouds[j] @ T_i_j[:3, :3].T + T_i_j[:3, 3])
        overlap = float((distance < VOXEL_SIZE).mean())
        overlaps.append(f'{i},{j},{overlap:.4f}\n')
        if overlap > 0.2:
            truth[i, j] = T_i_j
            weights[i, j] = information(clouds[j][distance < VOXEL_SIZE])
    write_log(benchmark / 'gt.log', len(clouds), truth)
    write_info(benchmark / 'gt.info', len(clouds), weights)
    (benchmark / 'gt_overlap.log').write_text(''.join(overlaps))
