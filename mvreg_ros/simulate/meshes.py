# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes and the primitives that rooms and furniture are made of; metres, z up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Triangles. vertices: (V, 3) float64, metres. faces: (F, 3) int64, rows of `vertices`."""

    vertices: FloatArray
    faces: IntArray

    def moved(self, offset: Sequence[float] | FloatArray, yaw: float = 0.0) -> Mesh:
        """Turn about z by `yaw` (rad), then shift by `offset` (m)."""
        turned = self.rotated('z', yaw) if yaw else self
        return Mesh(turned.vertices + np.asarray(offset, float), self.faces)

    def rotated(self, axes: str, angles: ArrayLike) -> Mesh:
        """Turn about the origin by Euler angles (rad), as scipy's `Rotation.from_euler`."""
        return Mesh(Rotation.from_euler(axes, angles).apply(self.vertices), self.faces)

    def standing(self) -> Mesh:
        """Shift along z so that the lowest vertex is at zero."""
        return self.moved((0, 0, -self.vertices[:, 2].min()))


def merge(meshes: Iterable[Mesh]) -> Mesh:
    """Join meshes into one."""
    parts = list(meshes)
    first = np.cumsum([0] + [len(part.vertices) for part in parts])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, first, strict=False)]),
    )


def box(size: Sequence[float], centre: Sequence[float] = (0, 0, 0)) -> Mesh:
    """Return an axis-aligned box of `size` (x, y, z) around `centre`."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return Mesh(corners * size + centre, np.array(faces))


def sheet(x: FloatArray, y: FloatArray, z: FloatArray, closed: bool = False) -> Mesh:
    """Return the surface through a grid of points, (R, C) each; `closed` joins its two sides."""
    rows, columns = x.shape
    i = np.arange(rows - 1)[:, None]
    j = np.arange(columns if closed else columns - 1)[None]
    a, b = i * columns + j, i * columns + (j + 1) % columns
    faces = np.stack([a, b, b + columns, a, b + columns, a + columns], -1).reshape(-1, 3)
    return Mesh(np.stack([x, y, z], -1).reshape(-1, 3), faces)


def revolved(radii: ArrayLike, heights: ArrayLike, sides: int = 16) -> Mesh:
    """Turn the outline (radii, heights), both (R,), about the z axis."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    radius, height = np.asarray(radii, float)[:, None], np.asarray(heights, float)[:, None]
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return sheet(x, y, np.broadcast_to(height, x.shape), closed=True)


def cylinder(radius: float, height: float, top_radius: float | None = None) -> Mesh:
    """Return a closed cylinder or cone frustum that stands on z = 0."""
    top = radius if top_radius is None else top_radius
    return revolved([0, radius, top, 0], [0, 0, height, height])


def superquadric(
    radii: Sequence[float] | FloatArray, roundness: float, dents: FloatArray | None = None
) -> Mesh:
    """
    Return a superquadric around the origin: a box at roundness 0, an ellipsoid at 1, a star at 2.

    dents: (K, 4) waves over the surface, a wave vector and an amplitude each; for soft things.
    """
    latitude = np.linspace(-np.pi / 2, np.pi / 2, 11)[:, None]
    longitude = np.linspace(-np.pi, np.pi, 20, endpoint=False)[None]

    def power(values: FloatArray) -> FloatArray:
        return np.sign(values) * np.abs(values) ** roundness

    ring = power(np.cos(latitude))
    x, y = ring * power(np.cos(longitude)), ring * power(np.sin(longitude))
    z = power(np.sin(latitude)) * np.ones_like(longitude)
    mesh = sheet(x, y, z, closed=True)
    vertices = mesh.vertices
    if dents is not None:
        wave = np.sin(vertices @ dents[:, :3].T + np.arange(len(dents))) @ dents[:, 3]
        vertices = vertices * (1 + wave[:, None])
    return Mesh(vertices * radii, mesh.faces)
