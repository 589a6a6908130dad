# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A furnished flat as one mesh: walls, floor, ceiling, and furniture that leaves the way free."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mvreg_ros.simulate import furniture
from mvreg_ros.simulate.clutter import small_thing
from mvreg_ros.simulate.floor_plan import FloorPlan, Opening, Room, Wall
from mvreg_ros.simulate.meshes import box, cylinder, merge, Mesh, revolved
from mvreg_ros.simulate.walls import wall_mesh
from mvreg_ros.types import FloatArray
import numpy as np

Maker = Callable[[np.random.Generator], Mesh]

AGAINST_WALLS: dict[str, tuple[Maker, ...]] = {
    'living': (furniture.sofa, furniture.sofa, furniture.shelf, furniture.cabinet,
               furniture.shelf, furniture.plant, furniture.floor_lamp),
    'kitchen': (furniture.counter, furniture.counter, furniture.table, furniture.cabinet,
                furniture.shelf, furniture.heap),
    'bedroom': (furniture.bed, furniture.wardrobe, furniture.cabinet, furniture.shelf,
                furniture.desk, furniture.plant),
    'office': (furniture.desk, furniture.desk, furniture.shelf, furniture.shelf,
               furniture.cabinet, furniture.plant),
}
FREE_STANDING: dict[str, tuple[Maker, ...]] = {
    'living': (furniture.low_table, furniture.sofa, furniture.chair, furniture.heap),
    'kitchen': (furniture.table, *(4 * (furniture.chair,)), furniture.heap),
    'bedroom': (furniture.chair, furniture.low_table, furniture.heap, furniture.heap),
    'office': (*(3 * (furniture.office_chair,)), furniture.table, furniture.heap),
}
# Free space on each side of the way: half of a person, metres.
CLEARANCE = 0.25
TRIES = 20


def build_flat(rng: np.random.Generator, plan: FloorPlan, path: FloatArray) -> Mesh:
    """Return the flat of `plan`, furnished so that the way along `path`, (M, 2), stays free."""
    low = np.min([room.low for room in plan.rooms], axis=0) - 0.5
    high = np.max([room.high for room in plan.rooms], axis=0) + 0.5
    middle, size = (low + high) / 2, high - low
    parts = [box((*size, 0.1), (*middle, z)) for z in (-0.05, plan.height + 0.05)]
    for room in plan.rooms:
        parts += [wall_mesh(rng, wall, plan.height) for wall in room.walls]
        parts += furnish(rng, room, path)
        parts.append(_ceiling_lamp(rng).moved((*(room.low + room.high) / 2, plan.height)))
    return merge(parts)


def furnish(rng: np.random.Generator, room: Room, path: FloatArray) -> list[Mesh]:
    """Return what stands in the room; what finds no free place in a few tries is left out."""
    placed: list[Mesh] = []
    for wall in room.walls:
        for opening in wall.openings:
            if opening.leaf:
                leaves = (_door_leaf(rng, wall, opening) for _ in range(TRIES))
                _place(placed, room, path, leaves)
    for make in AGAINST_WALLS[room.kind]:
        thing = make(rng)
        _place(placed, room, path, (_against_wall(rng, room, thing) for _ in range(TRIES)))
    for make in FREE_STANDING[room.kind]:
        thing = make(rng)
        _place(placed, room, path, (_anywhere(rng, room, thing) for _ in range(TRIES)))
    for _ in range(rng.integers(2, 7)):
        thing = small_thing(rng)
        _place(placed, room, path, (_anywhere(rng, room, thing) for _ in range(TRIES)))
    return placed


def _place(
    placed: list[Mesh], room: Room, path: FloatArray, candidates: Iterator[Mesh]
) -> None:
    """Add the first candidate that stands in the room, clear of the way and of the others."""
    for mesh in candidates:
        low, high = mesh.vertices[:, :2].min(0), mesh.vertices[:, :2].max(0)
        if np.any(low < room.low) or np.any(high > room.high):
            continue
        gap = np.maximum(np.maximum(low - path, path - high), 0)
        if np.hypot(gap[:, 0], gap[:, 1]).min() < CLEARANCE:
            continue
        if not any(_collide(mesh, other) for other in placed):
            placed.append(mesh)
            return


def _collide(a: Mesh, b: Mesh) -> bool:
    """Return whether the bounding boxes of two meshes meet."""
    return bool(np.all(a.vertices.min(0) < b.vertices.max(0))
                and np.all(b.vertices.min(0) < a.vertices.max(0)))


def _against_wall(rng: np.random.Generator, room: Room, thing: Mesh) -> Mesh:
    """Put a thing with its back to a random wall, a few centimetres away and a little askew."""
    wall = room.walls[rng.integers(4)]
    half = np.abs(thing.vertices[:, 0]).max()
    x = rng.uniform(half + 0.03, max(wall.length - half - 0.03, half + 0.04))
    y = -thing.vertices[:, 1].max() - rng.uniform(0.03, 0.08)
    return thing.moved((*wall.world(x, y), 0), wall.yaw + rng.normal(0, 0.015))


def _anywhere(rng: np.random.Generator, room: Room, thing: Mesh) -> Mesh:
    return thing.moved((*rng.uniform(room.low, room.high), 0), rng.uniform(0, 2 * np.pi))


def _door_leaf(rng: np.random.Generator, wall: Wall, opening: Opening) -> Mesh:
    """Return an open door, hinged at either side of the opening."""
    width, thickness = opening.end - opening.start, 0.04
    handle = box((0.12, 0.14, 0.025), (width - 0.1, 0, 1.05))
    leaf = merge([box((width, thickness, opening.top), (width / 2, 0, opening.top / 2)), handle])
    opened = rng.uniform(1.6, 2.9)
    at_start = rng.random() < 0.5
    hinge = wall.world(opening.start if at_start else opening.end, -0.08)
    return leaf.moved((*hinge, 0), wall.yaw + (-opened if at_start else np.pi + opened))


def _ceiling_lamp(rng: np.random.Generator) -> Mesh:
    """Return a lamp that hangs from z = 0."""
    drop, radius = rng.uniform(0.15, 0.6), rng.uniform(0.12, 0.25)
    shade = revolved([0.02, radius, radius * 0.9, 0], [0.15, 0, 0, 0.1]).moved((0, 0, -drop))
    return merge([cylinder(0.01, drop).moved((0, 0, -drop)), shade])
