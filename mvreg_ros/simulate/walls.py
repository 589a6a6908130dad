# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Walls with what is fixed to them: frames, windows, radiators, skirting, and what hangs there."""

from __future__ import annotations

from mvreg_ros.simulate.clutter import dents, scattered
from mvreg_ros.simulate.floor_plan import HALF_WALL, Opening, Wall
from mvreg_ros.simulate.meshes import box, cylinder, merge, Mesh, sheet, superquadric
import numpy as np

EXTERIOR_THICKNESS = 0.25


def wall_mesh(rng: np.random.Generator, wall: Wall, height: float) -> Mesh:
    """Return the wall in the world, with its openings and fixtures; z = 0 is the floor."""
    thickness = EXTERIOR_THICKNESS if wall.exterior else HALF_WALL
    openings = sorted(wall.openings, key=lambda opening: opening.start)
    parts = []
    solid_from = 0.0
    for opening in [*openings, Opening(wall.length, wall.length, 0, 0)]:
        if opening.start > solid_from:
            parts.append(_block(solid_from, opening.start, 0, height, thickness))
        solid_from = opening.end
    for opening in openings:
        parts.append(_block(opening.start, opening.end, opening.top, height, thickness))
        if opening.is_door:
            parts += _frame(opening, rng.uniform(0.06, 0.1))
        else:
            parts.append(_block(opening.start, opening.end, 0, opening.bottom, thickness))
            parts += _window(rng, opening)
    parts += _skirting(wall, [opening for opening in openings if opening.is_door])
    parts += _hangings(rng, wall)
    return merge(parts).moved((*wall.origin, 0), wall.yaw)


def _block(start: float, end: float, bottom: float, top: float, thickness: float) -> Mesh:
    """Return a piece of wall, behind y = 0."""
    size = (end - start, thickness, top - bottom)
    return box(size, ((start + end) / 2, thickness / 2, (bottom + top) / 2))


def _frame(opening: Opening, width: float) -> list[Mesh]:
    """Return strips around an opening that stand 1.5 cm out of the wall."""
    middle, centre = (opening.start + opening.end) / 2, (opening.bottom + opening.top) / 2
    upright = (width, 0.03, opening.top - opening.bottom + width)
    return [
        box(upright, (opening.start - width / 2, 0, centre)),
        box(upright, (opening.end + width / 2, 0, centre)),
        box((opening.end - opening.start, 0.03, width), (middle, 0, opening.top + width / 2)),
    ]


def _window(rng: np.random.Generator, opening: Opening) -> list[Mesh]:
    """Return frame, sill, bars, and at times a blind, curtains or a radiator below."""
    width, height = opening.end - opening.start, opening.top - opening.bottom
    middle, centre = (opening.start + opening.end) / 2, (opening.bottom + opening.top) / 2
    parts = _frame(opening, 0.05)
    parts.append(box((width + 0.2, 0.2, 0.03), (middle, -0.04, opening.bottom)))
    for x in np.linspace(opening.start, opening.end, int(rng.integers(2, 4))):
        parts.append(box((0.06, 0.05, height), (x, 0.15, centre)))
    for z in (opening.bottom + 0.04, opening.top - 0.03):
        parts.append(box((width, 0.05, 0.06), (middle, 0.15, z)))
    if rng.random() < 0.5:
        drop = height * rng.uniform(0.3, 1.0)
        parts.append(box((width, 0.01, drop), (middle, 0.08, opening.top - drop / 2)))
    if rng.random() < 0.5:
        for x in (opening.start - 0.12, opening.end + 0.12):
            parts.append(_curtain(rng, rng.uniform(0.3, 0.5), opening.top + 0.05).moved((x, 0, 0)))
        parts.append(box((width + 0.8, 0.03, 0.03), (middle, -0.1, opening.top + 0.1)))
    if rng.random() < 0.6:
        rib = box((0.045, 0.09, opening.bottom - 0.25), (0, -0.08, opening.bottom / 2))
        parts += [rib.moved((x, 0, 0)) for x in np.arange(opening.start, opening.end, 0.07)]
    return parts


def _curtain(rng: np.random.Generator, width: float, height: float) -> Mesh:
    """Return a folded cloth from the floor up to `height`, 10 cm before the wall."""
    x, z = np.meshgrid(np.linspace(-width / 2, width / 2, 40), np.linspace(0.02, height, 5))
    folds = 0.03 * np.sin(x * rng.uniform(35, 60) + rng.uniform(0, 6)) + 0.015 * np.sin(x * 17)
    return sheet(x, -0.1 + folds * (1.2 - 0.4 * z / height), z)


def _skirting(wall: Wall, doors: list[Opening]) -> list[Mesh]:
    """Return boards along the floor between the doors."""
    ends = [0.0, *(x for door in doors for x in (door.start - 0.08, door.end + 0.08)), wall.length]
    return [
        box((end - start, 0.03, 0.08), ((start + end) / 2, 0, 0.04))
        for start, end in zip(ends[::2], ends[1::2], strict=True) if end > start
    ]


def _hangings(rng: np.random.Generator, wall: Wall) -> list[Mesh]:
    """Return what hangs on the wall where it has no opening."""
    parts: list[Mesh] = []
    for _ in range(rng.integers(1, 5)):
        hanging = HANGINGS[rng.integers(len(HANGINGS))](rng)
        half = np.abs(hanging.vertices[:, 0]).max() + 0.08
        if wall.length < 2 * half:
            continue
        x = rng.uniform(half, wall.length - half)
        if not any(o.start - half < x < o.end + half for o in wall.openings):
            parts.append(hanging.moved((x, 0, 0)))
    return parts


def _picture(rng: np.random.Generator) -> Mesh:
    width, height = rng.uniform(0.2, 0.9), rng.uniform(0.2, 0.7)
    return box((width, rng.uniform(0.03, 0.08), height), (0, 0, rng.uniform(1.35, 1.75)))


def _clock(rng: np.random.Generator) -> Mesh:
    disc = cylinder(rng.uniform(0.1, 0.18), 0.05).rotated('x', np.pi / 2)
    return disc.moved((0, 0, rng.uniform(1.5, 1.9)))


def _pipe(rng: np.random.Generator) -> Mesh:
    radius = rng.uniform(0.015, 0.05)
    return cylinder(radius, rng.uniform(1.0, 2.3)).moved((0, -radius - 0.03, 0))


def _wall_shelf(rng: np.random.Generator) -> Mesh:
    width, depth = rng.uniform(0.4, 1.2), rng.uniform(0.15, 0.24)
    things = scattered(rng, int(rng.integers(2, 7)), (width, depth), 0.0125, 0.3)
    shelf = merge([box((width, depth, 0.025)), *things])
    return shelf.moved((0, -depth / 2, rng.uniform(1.2, 1.8)))


def _coat_rack(rng: np.random.Generator) -> Mesh:
    width = rng.uniform(0.5, 0.9)
    parts = [box((width, 0.04, 0.1), (0, 0, 1.7))]
    for x in np.arange(-width / 2 + 0.08, width / 2, 0.16):
        parts.append(box((0.02, 0.08, 0.02), (x, -0.05, 1.7)))
        if rng.random() < 0.5:
            length = rng.uniform(0.3, 0.5)
            coat = superquadric((0.14, 0.07, length), 0.7, dents(rng, 0.08))
            parts.append(coat.moved((x, -0.09, 1.72 - length)))
    return merge(parts)


HANGINGS = (_picture, _picture, _clock, _pipe, _wall_shelf, _coat_rack)
