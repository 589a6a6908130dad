# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What two fragments have seen of a motion: surfaces that meet, and shape that fixes it."""

from __future__ import annotations

from mvreg_ros.multiview.odometry_evidence import looking_at
from mvreg_ros.types import FragmentFeatures
import numpy as np
import pytest
from random_graphs import noise
from scipy.spatial.transform import Rotation
import torch


def wall(distance: float) -> FragmentFeatures:
    """Return a wall ahead of a sensor."""
    x, y = np.meshgrid(np.arange(-1, 1, 0.05), np.arange(-1, 1, 0.05))
    points = torch.from_numpy(np.stack([x, y, np.full_like(x, distance)], -1).reshape(-1, 3))
    return FragmentFeatures(
        points.float(), torch.tensor([[0.0, 0.0, -1.0]]).expand(len(points), 3),
        torch.zeros(len(points), 1), torch.zeros(3))


def test_a_look_contradicts_where_one_saw_through_what_the_other_has() -> None:
    look = looking_at([wall(2.0), wall(2.0), wall(1.0)], 0.05)
    information = 1e4 * np.eye(6)
    assert not look(0, 1, np.eye(4), information).contradicted
    assert look(0, 2, np.eye(4), information).contradicted
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler('y', np.pi).as_matrix()
    assert not look(0, 2, turned, information).contradicted


@pytest.mark.parametrize('known', [20, 1e4])
def test_a_wall_confirms_nothing_however_well_it_is_known(known: float) -> None:
    """It is seen by both and nothing contradicts it, but it tells nothing of two directions."""
    sighting = looking_at([wall(2.0), wall(2.0)], 0.05)(0, 1, np.eye(4), known * np.eye(6))
    assert sighting.seen.agree > 1000 and not sighting.seen.contradict
    assert not sighting.confirmed


def rough(rng: np.random.Generator, walls: int) -> FragmentFeatures:
    """Return up to three walls of a room, other points each time, of which all are uneven."""
    points = rng.uniform(0, 2.5, (700 * walls, 3))
    axis = np.repeat(np.eye(3)[:walls], 700, 0)
    points = np.where(axis == 1, rng.normal(0, 0.015, points.shape), points)
    normals = axis + rng.normal(0, 0.15, points.shape)
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    return FragmentFeatures(
        torch.from_numpy(points).float(), torch.from_numpy(normals).float(),
        torch.zeros(len(points), 1), torch.full((3,), 1.5))


# Known to 13 cm and to 2.5 degrees.
KNOWN = np.diag(np.repeat([1 / 0.13**2, 1 / 0.043**2], 3))


@pytest.mark.parametrize('seed', range(5))
def test_a_rough_wall_has_no_shape(seed: int) -> None:
    """Its normals err, which must not be taken for a relief that fixes a motion along it."""
    rng = np.random.default_rng(seed)
    sighting = looking_at([rough(rng, 1), rough(rng, 1)], 0.025)(0, 1, np.eye(4), KNOWN)
    assert sighting.seen.agree > 800 and not sighting.seen.contradict
    assert not sighting.confirmed
    along = np.sqrt(np.linalg.inv(sighting.information)[[1, 2], [1, 2]])
    across = np.sqrt(np.linalg.inv(sighting.information)[0, 0])
    assert (along > 0.08).all() and across < 0.04


@pytest.mark.parametrize('seed', range(5))
def test_three_rough_walls_fix_a_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = noise(rng, 1, 0.02, 0.05)[0]
    sighting = looking_at([rough(rng, 3), rough(rng, 3)], 0.025)(0, 1, start, KNOWN)
    assert sighting.confirmed
    assert np.linalg.norm(sighting.T_i_j[:3, 3]) < 0.02 < np.linalg.norm(start[:3, 3])


@pytest.mark.parametrize('walls', [1, 2, 3])
def test_nothing_that_was_known_is_lost_in_a_look(walls: int) -> None:
    rng = np.random.default_rng(walls)
    look = looking_at([rough(rng, walls), rough(rng, walls)], 0.025)
    sighting = look(0, 1, np.eye(4), KNOWN)
    np.testing.assert_array_equal(sighting.known, KNOWN)
    np.testing.assert_allclose(sighting.surfaces, sighting.surfaces.T, atol=1e-6)
    assert np.linalg.eigvalsh(sighting.surfaces)[0] > -1e-6
