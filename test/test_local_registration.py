# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Registration from a pose that is nearly known, on surfaces with known answers."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.pairwise.fine_registration import moved
from mvreg_ros.pairwise.local_registration import local_registration
from mvreg_ros.types import FloatArray, FragmentFeatures
import numpy as np
import pytest
from random_graphs import noise
from random_motion import random_pose
import torch

VOXEL = 0.025
REACHES = (0.4, 0.2, 0.1)
# Known to 10 cm and to 2 degrees.
PRIOR = np.diag(np.repeat([1 / 0.1**2, 1 / 0.035**2], 3))


def corner(rng: np.random.Generator, walls: int, T: FloatArray) -> FragmentFeatures:
    """Return other points of the same walls each time, as seen from T (4, 4)."""
    points = rng.uniform(0, 2, (600 * walls, 3))
    normals = np.repeat(np.eye(3)[:walls], 600, 0)
    points[normals.astype(bool)] = 0.0
    there = torch.from_numpy((points - T[:3, 3]) @ T[:3, :3]).float()
    return FragmentFeatures(
        there, torch.from_numpy(normals @ T[:3, :3]).float(), torch.eye(len(there), 2),
        torch.zeros(3))


@pytest.mark.parametrize('seed', range(5))
def test_three_walls_correct_what_is_known(seed: int) -> None:
    rng = np.random.default_rng(seed)
    T = random_pose(rng).numpy()
    start = T @ noise(rng, 1, 0.02, 0.08)[0]
    view = corner(rng, 3, T)
    found, surfaces = local_registration(
        start, PRIOR, corner(rng, 3, np.eye(4)), view, VOXEL, REACHES)
    points = view.points.double().numpy()
    off = np.linalg.norm(moved(found, points) - moved(T, points), axis=1)
    before = np.linalg.norm(moved(start, points) - moved(T, points), axis=1)
    # What is known beforehand draws a little.
    assert off.max() < 0.01 < before.min()
    assert np.linalg.eigvalsh(surfaces)[0] > 100


def test_along_two_walls_what_is_known_decides() -> None:
    """Their line is the z axis of both views: nothing is seen of how far they are along it."""
    rng = np.random.default_rng(0)
    start = np.eye(4)
    start[:3, 3] = 0.05, -0.04, 0.07
    found, surfaces = local_registration(
        start, PRIOR, corner(rng, 2, np.eye(4)), corner(rng, 2, np.eye(4)), VOXEL, REACHES)
    np.testing.assert_allclose(found[:3, 3], [0, 0, 0.07], atol=2e-3)
    assert surfaces[2, 2] < 1e-3 * PRIOR[2, 2]
    assert (surfaces[[0, 1], [0, 1]] > 100 * PRIOR[0, 0]).all()


def test_where_nothing_is_common_nothing_is_learnt() -> None:
    rng = np.random.default_rng(0)
    away = np.eye(4)
    away[:3, 3] = 30.0
    found, surfaces = local_registration(
        away, PRIOR, corner(rng, 3, np.eye(4)), corner(rng, 3, np.eye(4)), VOXEL, REACHES)
    np.testing.assert_allclose(found, away, atol=1e-12)
    np.testing.assert_array_equal(surfaces, 0)


def test_surfaces_that_are_far_apart_know_less() -> None:
    """Both views err by half a voxel, and so are 0.7 voxels apart where 0.4 are expected."""
    rng = np.random.default_rng(0)
    gained = []
    for error in (0.0, VOXEL / 2):
        views = [corner(rng, 3, np.eye(4)) for _ in range(2)]
        some = [replace(view, points=view.points + error * view.normals * torch.from_numpy(
            rng.normal(size=(len(view.points), 1))).float()) for view in views]
        _, surfaces = local_registration(np.eye(4), PRIOR, *some, VOXEL, REACHES)
        gained.append(np.linalg.eigvalsh(surfaces))
    np.testing.assert_allclose(gained[0] / gained[1], (0.7 / 0.4)**2, rtol=0.3)
