# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a flat: rooms on a round tour, doors from each to the next, windows outside."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.types import FloatArray
import numpy as np

HALF_WALL = 0.06
DOOR_HEIGHT = 2.05
KINDS = ('living', 'kitchen', 'bedroom', 'office')


@dataclass(frozen=True)
class Opening:
    """
    A hole in a wall: from `start` to `end` along it, from `bottom` to `top`; metres.

    leaf: whether it is a door that opens into this room.
    """

    start: float
    end: float
    bottom: float
    top: float
    leaf: bool = False

    @property
    def is_door(self) -> bool:
        """Whether one can walk through."""
        return self.bottom == 0


@dataclass(frozen=True)
class Wall:
    """
    One side of a room, in its own frame: x along the wall, y out of the room, z up.

    origin: (2,) where the wall starts. yaw: of the wall's frame in the world.
    """

    origin: FloatArray
    yaw: float
    length: float
    exterior: bool
    openings: tuple[Opening, ...]

    @property
    def along(self) -> FloatArray:
        """(2,) unit vector along the wall."""
        return np.array([np.cos(self.yaw), np.sin(self.yaw)])

    @property
    def outwards(self) -> FloatArray:
        """(2,) unit vector out of the room."""
        return np.array([-np.sin(self.yaw), np.cos(self.yaw)])

    def world(self, x: float, y: float) -> FloatArray:
        """Return the (2,) point of the world at (x, y) of the wall's frame."""
        return self.origin + x * self.along + y * self.outwards


@dataclass(frozen=True)
class Room:
    """
    A rectangular room; `low` and `high` are corners of its floor, (2,) each, between the walls.

    walk_centre, walk_radii: (2,), the ellipse on which somebody walks around in it; kept free.
    """

    kind: str
    low: FloatArray
    high: FloatArray
    walls: tuple[Wall, ...]
    walk_centre: FloatArray
    walk_radii: FloatArray


@dataclass(frozen=True)
class Door:
    """A passage between two rooms. centre: (2,). heading: yaw of the way into the second."""

    centre: FloatArray
    heading: float
    width: float


@dataclass(frozen=True)
class FloorPlan:
    """Rooms in the order of the tour; doors[k] leads from rooms[k] to the next, the last home."""

    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]
    height: float


def plan_flat(rng: np.random.Generator, rooms: int) -> FloorPlan:
    """Return a plan of `rooms` rooms: two columns, and one room across the end if odd."""
    cells = _cells(rng, rooms)
    pairs = [(k, (k + 1) % rooms) for k in range(rooms if rooms > 2 else rooms - 1)]
    doors = tuple(_door(rng, cells[a], cells[b]) for a, b in pairs)
    height = rng.uniform(2.4, 2.75)
    kinds = [KINDS[k % len(KINDS)] for k in rng.permutation(rooms)]
    plans = tuple(
        _room(rng, kind, cell, [other for other in cells if other is not cell], doors, height)
        for kind, cell in zip(kinds, cells, strict=True)
    )
    return FloorPlan(plans, doors, height)


def _cells(rng: np.random.Generator, rooms: int) -> list[FloatArray]:
    """Return rectangles [[x0, y0], [x1, y1]] that touch, down one column and up the other."""
    left, right, y = [], [], 0.0
    width = rng.uniform(6.2, 7.8)
    for _ in range(rooms // 2):
        bottom = y - rng.uniform(3.0, 4.0)
        split = width / 2 + rng.uniform(-0.3, 0.3)
        left.append(np.array([[0, bottom], [split, y]]))
        right.append(np.array([[split, bottom], [width, y]]))
        y = bottom
    end = []
    if rooms % 2:
        half = rng.uniform(2.1, 2.6)
        bottom = y - rng.uniform(3.0, 4.0)
        end.append(np.array([[width / 2 - half, bottom], [width / 2 + half, y]]))
    return left + end + right[::-1]


def _door(rng: np.random.Generator, a: FloatArray, b: FloatArray) -> Door:
    """Return a door somewhere in the common side of two touching rectangles."""
    low, high = np.maximum(a[0], b[0]), np.minimum(a[1], b[1])
    normal = int(np.argmin(high - low))
    side, width = 1 - normal, rng.uniform(0.85, 1.0)
    centre = low.copy()
    centre[side] = rng.uniform(low[side] + 0.8, high[side] - 0.8)
    step = b.mean(0)[normal] - a.mean(0)[normal]
    forwards = np.where(np.arange(2) == normal, np.sign(step), 0)
    return Door(centre, float(np.arctan2(forwards[1], forwards[0])), width)


def _room(
    rng: np.random.Generator, kind: str, cell: FloatArray, others: list[FloatArray],
    doors: tuple[Door, ...], height: float,
) -> Room:
    low, high = cell[0] + HALF_WALL, cell[1] - HALF_WALL
    corners = [(low[0], high[1]), (high[0], high[1]), (high[0], low[1]), (low[0], low[1])]
    walls, margins = [], []
    for k, yaw in enumerate((0.0, -np.pi / 2, np.pi, np.pi / 2)):
        length = float((high - low)[k % 2])
        bare = Wall(np.array(corners[k]), yaw, length, True, ())
        openings = [hole for door in doors if (hole := _doorway(bare, door)) is not None]
        probe = [bare.world(x, 3 * HALF_WALL) for x in np.linspace(0, length, 20)]
        exterior = not any(
            np.all((point > other[0]) & (point < other[1])) for point in probe for other in others
        )
        if exterior:
            openings += _windows(rng, length, height)
        walls.append(Wall(bare.origin, yaw, length, exterior, tuple(openings)))
        margins.append(rng.uniform(0.95, 1.2))
    largest = {'living': 1.35, 'bedroom': 1.75}.get(kind, 1.1)
    outside = [k for k, wall in enumerate(walls) if wall.exterior]
    margins[int(rng.choice(outside))] = largest
    up, right, down, left = margins
    walk_low, walk_high = low + np.array([left, down]), high - np.array([right, up])
    radii = np.clip((walk_high - walk_low) / 2, 0.25, 0.7)
    return Room(kind, low, high, tuple(walls), (walk_low + walk_high) / 2, radii)


def _doorway(wall: Wall, door: Door) -> Opening | None:
    """Return the opening that `door` makes in `wall`, if any; a door opens into its first room."""
    offset = door.centre - wall.origin
    x, y = float(offset @ wall.along), float(offset @ wall.outwards)
    if not (0 < x < wall.length and 0 < y < 2 * HALF_WALL):
        return None
    leaf = wall.outwards @ [np.cos(door.heading), np.sin(door.heading)] > 0
    return Opening(x - door.width / 2, x + door.width / 2, 0.0, DOOR_HEIGHT, bool(leaf))


def _windows(rng: np.random.Generator, length: float, height: float) -> list[Opening]:
    """Return up to two windows side by side."""
    count = int(rng.choice([0, 1, 1, 2]))
    sill, top = rng.uniform(0.75, 1.0), min(rng.uniform(1.9, 2.2), height - 0.15)
    share = length / max(count, 1)
    half, shift = min(rng.uniform(0.4, 0.7), share / 2 - 0.35), rng.uniform(-0.15, 0.15)
    centres = [(k + 0.5) * share + shift for k in range(count)]
    return [Opening(x - half, x + half, sill, top) for x in centres]
