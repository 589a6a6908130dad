# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Flats are whole, furniture stands, doors are free, and the walk goes through all rooms."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from mvreg_ros.simulate.camera import scene_of
from mvreg_ros.simulate.clutter import small_thing
from mvreg_ros.simulate.flat import AGAINST_WALLS, build_flat, FREE_STANDING
from mvreg_ros.simulate.floor_plan import FloorPlan, plan_flat
from mvreg_ros.simulate.meshes import box, cylinder, merge, Mesh, superquadric
from mvreg_ros.simulate.trajectory import walk
import numpy as np
from open3d.core import Tensor
import pytest
import trimesh

SEEDS = st.integers(0, 2**32 - 1)
MAKERS = sorted({*sum((*AGAINST_WALLS.values(), *FREE_STANDING.values()), ())},
                key=lambda make: make.__name__)
FRAMES = 12


def volume(mesh: Mesh) -> float:
    return abs(trimesh.Trimesh(mesh.vertices, mesh.faces).volume)


def walked(seed: int, rooms: int, fragments: int) -> tuple[FloorPlan, np.ndarray]:
    rng = np.random.default_rng(seed)
    plan = plan_flat(rng, rooms)
    return plan, walk(rng, plan, fragments, FRAMES)


def test_volumes_of_primitives():
    """Box, ellipsoid and cylinder have the volume that the formulas give, less for few facets."""
    assert volume(box((1, 2, 3))) == pytest.approx(6)
    assert volume(superquadric((1, 2, 3), 1)) == pytest.approx(8 * np.pi, rel=0.06)
    assert volume(superquadric((1, 2, 3), 0.05)) == pytest.approx(48, rel=0.06)
    assert volume(cylinder(1, 2)) == pytest.approx(2 * np.pi, rel=0.03)


def test_merging_keeps_the_parts():
    """Faces of later parts point to their own vertices."""
    parts = [box((1, 1, 1)), box((2, 2, 2)).moved((5, 0, 0)), cylinder(1, 1).moved((9, 0, 0))]
    assert volume(merge(parts)) == pytest.approx(sum(volume(part) for part in parts))


@pytest.mark.parametrize('make', MAKERS, ids=lambda make: make.__name__)
@settings(max_examples=8)
@given(seed=SEEDS)
def test_furniture_stands_on_the_floor(make, seed):
    """Each piece is finite, at most as large as a wall cupboard is high, and not sunk."""
    mesh = make(np.random.default_rng(seed))
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    assert np.isfinite(mesh.vertices).all()
    assert -0.02 < low[2] < 0.03
    assert 0.05 < high[2] < 2.4
    assert np.all(high[:2] - low[:2] < 2.6)
    assert mesh.faces.min() == 0
    assert mesh.faces.max() == len(mesh.vertices) - 1


@settings(max_examples=20)
@given(seed=SEEDS, height=st.floats(0.05, 0.4))
def test_small_things_fit_below_a_shelf(seed, height):
    """A small thing is never taller than asked."""
    mesh = small_thing(np.random.default_rng(seed), height)
    assert mesh.vertices[:, 2].max() <= height + 1e-9
    assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-9)


@settings(max_examples=40)
@given(seed=SEEDS, rooms=st.integers(1, 9))
def test_plan(seed, rooms):
    """Rooms do not overlap; each door is a hole in two rooms, and opens into one of them."""
    plan = plan_flat(np.random.default_rng(seed), rooms)
    assert len(plan.rooms) == rooms
    assert len(plan.doors) == (rooms if rooms > 2 else rooms - 1)
    for k, room in enumerate(plan.rooms):
        assert np.all(room.high - room.low > 2.5)
        assert np.all(np.abs(room.walk_centre - (room.low + room.high) / 2) < 1)
        for other in plan.rooms[:k]:
            assert np.any((room.high < other.low) | (other.high < room.low))
    holes = [(wall, hole) for room in plan.rooms for wall in room.walls for hole in wall.openings]
    doors = [(wall, hole) for wall, hole in holes if hole.is_door]
    assert len(doors) == 2 * len(plan.doors)
    assert sum(hole.leaf for _, hole in doors) == len(plan.doors)
    for door in plan.doors:
        gaps = [np.linalg.norm(wall.world((hole.start + hole.end) / 2, 0) - door.centre)
                for wall, hole in doors]
        assert np.sum(np.array(gaps) < 0.07) == 2
    for wall, hole in holes:
        assert 0.1 < hole.start < hole.end < wall.length - 0.1
        assert hole.top < plan.height


@pytest.mark.parametrize(('seed', 'rooms', 'fragments'), [(0, 4, 30), (1, 2, 14), (2, 3, 20)])
def test_the_way_is_free(seed, rooms, fragments):
    """Nothing stands within 15 cm of the walk at any height, and it passes all doors."""
    plan, poses = walked(seed, rooms, fragments)
    centres = poses[..., :3, 3].reshape(-1, 3)
    scene = scene_of(build_flat(np.random.default_rng(seed), plan, centres[:, :2]))
    for height in (0.3, 0.8, 1.4, 1.8):
        points = np.column_stack([centres[:, :2], np.full(len(centres), height)])
        distance = scene.compute_distance(Tensor(points.astype(np.float32))).numpy()
        assert distance.min() > 0.15, f'at height {height}'
    for door in plan.doors:
        assert np.linalg.norm(centres[:, :2] - door.centre, axis=1).min() < 0.2


@settings(max_examples=10)
@given(seed=SEEDS, rooms=st.integers(1, 5))
def test_walk(seed, rooms):
    """The walk is smooth, stays at eye height in the rooms, visits them all and comes home."""
    plan, poses = walked(seed, rooms, 8 * rooms)
    flat = poses.reshape(-1, 4, 4)
    centres = flat[:, :3, 3]
    gram = flat[:, :3, :3] @ flat[:, :3, :3].transpose(0, 2, 1)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-9)
    assert np.linalg.norm(np.diff(centres, axis=0), axis=1).max() < 0.35
    turn = np.einsum('nik,nik->n', flat[1:, :3, :3], flat[:-1, :3, :3])
    assert np.degrees(np.arccos(np.clip((turn - 1) / 2, -1, 1))).max() < 15
    assert np.all((centres[:, 2] > 0.9) & (centres[:, 2] < 1.9))
    assert np.all(flat[:, 2, 1] < -0.7), 'the y axis of the camera points down'
    inside = np.stack([np.all((centres[:, :2] > room.low) & (centres[:, :2] < room.high), axis=1)
                       for room in plan.rooms])
    assert inside.any(1).all()
    assert inside[0, 0]
    assert inside[0, -1]
