# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole network: its gradient, and its place in the pipeline."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.features.fcgf import FcgfConfig
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.multiview.algorithm_1 import Algorithm1Config
from mvreg_ros.training.objective import Objective, ObjectiveConfig
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import torch

VOXEL_SIZE = 0.1
TINY = LmpcrConfig(
    FcgfConfig(encoder=(4, 4, 6, 6), decoder=(4, 4, 4, 6), out_channels=8, conv1_kernel_size=5),
    voxel_size=VOXEL_SIZE, points=40, width=8, clusters=6, straight_through=False,
)
PARTS = ('phi', 'matching', 'psi_init', 'psi_iter', 'zeta', 'beta')


def bumpy_scans(count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return overlapping pieces of a bumpy surface, float64, a point a voxel, and their poses."""
    rng = np.random.default_rng(5)
    cells = np.stack(np.meshgrid(np.arange(26), np.arange(12), indexing='ij'), -1).reshape(-1, 2)
    ground = VOXEL_SIZE * (cells + rng.uniform(0.2, 0.8, cells.shape))
    height = 0.3 * np.sin(4 * ground[:, 0]) * np.cos(5 * ground[:, 1])
    surface = np.column_stack([ground, height])
    scans, poses = [], []
    for k in range(count):
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec(rng.normal(0, 1, 3)).as_matrix()
        T[:3, 3] = 0.4 * k + 0.5, 0.6, 0.1
        near = surface[np.abs(surface[:, 0] - T[0, 3]) < 0.7]
        local = (near - T[:3, 3]) @ T[:3, :3]
        voxels = np.floor(local / VOXEL_SIZE)
        _, first = np.unique(voxels, axis=0, return_index=True)
        scans.append(torch.from_numpy(local[np.sort(first)]))
        poses.append(T)
    return scans, torch.from_numpy(np.stack(poses))


def joint_loss(network: Lmpcr, objective: Objective, scans: list[torch.Tensor]) -> torch.Tensor:
    """Return Eq. 16 with the same random draws every time."""
    generator = torch.Generator().manual_seed(1)
    return objective(network(scans, Algorithm1Config(), generator), generator).total


def test_the_gradient_of_the_whole_chain_is_that_of_finite_differences() -> None:
    """
    The joint loss of four scans, in every part of the network, in float64.

    From clouds to features, soft matches, weights, poses, confidences, synchronisation and back
    through four rounds of all this.
    """
    torch.manual_seed(0)
    network = Lmpcr(TINY).double().train()
    with torch.no_grad():
        # Away from where ReLUs have their corners, and with weights that determine the poses.
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        for psi in (network.psi_init, network.psi_iter):
            psi.output.bias.fill_(1.0)
    scans, poses = bumpy_scans(4)
    objective = Objective(scans, poses, ObjectiveConfig.for_voxel_size(VOXEL_SIZE))
    joint_loss(network, objective, scans).backward()
    generator = torch.Generator().manual_seed(2)
    for part in PARTS:
        parameters = [p for name, p in network.named_parameters() if name.split('.')[0] == part]
        assert parameters, part
        direction = [
            torch.randn(p.shape, generator=generator, dtype=torch.float64) * p.detach().std(
                correction=0).clamp(min=0.1) for p in parameters]
        derivative = sum(
            float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True))
        step, values = 1e-8, []
        with torch.no_grad():
            for sign in (1, -1):
                for p, d in zip(parameters, direction, strict=True):
                    p += sign * step * d
                values.append(float(joint_loss(network, objective, scans)))
                for p, d in zip(parameters, direction, strict=True):
                    p -= sign * step * d
        difference = (values[0] - values[1]) / (2 * step)
        assert abs(derivative) > 1e-6, part
        assert derivative == pytest.approx(difference, rel=1e-3), part


def test_some_points_of_a_scan_are_matched_with_all_of_the_other() -> None:
    """Of 100 points 40 are taken, the first and the last among them; each finds its twin."""
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(2))
    descriptors = torch.eye(100)
    network = Lmpcr(replace(TINY, straight_through=True))
    with torch.no_grad():
        gamma = network.correspondences([points, points + 1], [descriptors, descriptors])
    assert gamma.points_i.shape == (1, TINY.points, 3)
    torch.testing.assert_close(gamma.points_i[0, [0, -1]], points[[0, -1]])
    torch.testing.assert_close(gamma.points_j, gamma.points_i + 1)
