# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small things that stand on furniture and floors; each is a function rng -> mesh on z = 0."""

from __future__ import annotations

from mvreg_ros.simulate.meshes import box, cylinder, merge, Mesh, revolved, superquadric
from mvreg_ros.types import FloatArray
import numpy as np


def bottle(rng: np.random.Generator) -> Mesh:
    """Return a bottle, vase or jug: an outline turned about its axis."""
    body, neck = rng.uniform(0.03, 0.07), rng.uniform(0.01, 0.03)
    shoulder, height = rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.35)
    belly = body * rng.uniform(0.8, 1.4)
    radii = [0, body, belly, body, neck, neck * 1.2, 0]
    return revolved(radii, [0, 0, shoulder / 2, shoulder, shoulder * 1.25, height, height])


def bowl(rng: np.random.Generator) -> Mesh:
    """Return an open vessel: bowl, mug, bucket or waste bin; some with a handle."""
    radius = rng.uniform(0.05, 0.16)
    height, foot = radius * rng.uniform(0.8, 2.2), radius * rng.uniform(0.6, 1.0)
    wall = 0.93
    mesh = revolved(
        [0, foot, radius, radius * wall, foot * wall, 0],
        [0, 0, height, height, 0.08 * height, 0.08 * height],
    )
    if rng.random() < 0.4:
        handle = box((radius * 0.5, 0.015, height * 0.5), (radius * 1.2, 0, height * 0.5))
        return merge([mesh, handle])
    return mesh


def carton(rng: np.random.Generator) -> Mesh:
    """Return an open cardboard box."""
    width, depth, height = rng.uniform(0.12, 0.4, 3)
    wall = 0.012
    parts = [box((width, depth, wall), (0, 0, wall / 2))]
    for side in (-0.5, 0.5):
        parts.append(box((wall, depth, height), (side * width, 0, height / 2)))
        parts.append(box((width, wall, height), (0, side * depth, height / 2)))
    return merge(parts)


def papers(rng: np.random.Generator) -> Mesh:
    """Return a pile of books and papers, each turned a little."""
    parts, top = [], 0.0
    for _ in range(rng.integers(2, 7)):
        thickness = rng.uniform(0.01, 0.05)
        size = (rng.uniform(0.15, 0.3), rng.uniform(0.12, 0.24), thickness)
        shift = (*rng.normal(0, 0.01, 2), top + thickness / 2)
        parts.append(box(size).moved(shift, rng.normal(0, 0.2)))
        top += thickness
    return merge(parts)


def lump(rng: np.random.Generator) -> Mesh:
    """Return a bag, toy, fruit or folded cloth: a dented superquadric."""
    radii = rng.uniform(0.04, 0.16, 3)
    return superquadric(radii, rng.uniform(0.4, 1.3), dents(rng, 0.1)).standing()


def parcel(rng: np.random.Generator) -> Mesh:
    """Return a closed box: carton, radio, toaster."""
    width, depth, height = rng.uniform(0.06, 0.35, 3)
    return box((width, depth, height), (0, 0, height / 2))


def lamp(rng: np.random.Generator) -> Mesh:
    """Return a table lamp with a shade."""
    height, shade = rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.18)
    return merge([
        cylinder(0.08, 0.02), cylinder(0.012, height),
        cylinder(shade, 0.18, shade * rng.uniform(0.4, 0.9)).moved((0, 0, height - 0.08)),
    ])


def monitor(rng: np.random.Generator) -> Mesh:
    """Return a screen on a foot, facing -y."""
    width, height = rng.uniform(0.4, 0.7), rng.uniform(0.26, 0.4)
    return merge([
        box((width, 0.03, height), (0, 0, 0.12 + height / 2)),
        box((0.06, 0.03, 0.25), (0, 0.03, 0.13)), box((0.24, 0.18, 0.015), (0, 0.02, 0.008)),
    ])


SMALL_THINGS = (bottle, bowl, carton, papers, lump, parcel)


def dents(rng: np.random.Generator, depth: float) -> FloatArray:
    """Return four waves for `superquadric`, each up to `depth` of its size."""
    return np.concatenate([rng.normal(0, 2.5, (4, 3)), rng.uniform(-depth, depth, (4, 1))], 1)


def small_thing(rng: np.random.Generator, height: float = np.inf) -> Mesh:
    """Return one small thing in any direction, shrunk where taller than `height`."""
    thing = SMALL_THINGS[rng.integers(len(SMALL_THINGS))](rng)
    scale = min(1.0, height / thing.vertices[:, 2].max())
    return Mesh(thing.vertices * scale, thing.faces).moved((0, 0, 0), rng.uniform(0, 2 * np.pi))


def scattered(
    rng: np.random.Generator, count: int, size: tuple[float, float], z: float,
    height: float = np.inf,
) -> list[Mesh]:
    """Return `count` small things on a surface of `size` (x, y) around the z axis, at `z`."""
    reach = np.maximum(np.array(size) / 2 - 0.08, 0)
    return [
        small_thing(rng, height).moved((*rng.uniform(-reach, reach), z)) for _ in range(count)
    ]
