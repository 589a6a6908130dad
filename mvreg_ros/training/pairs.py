# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of fragments to learn from: which there are, how they are turned, what matches in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from mvreg_ros.training.scenes import overlaps, TrainingScene
from mvreg_ros.types import FloatArray, InputError
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
import torch
from torch import Tensor

# Edge of the cells that overlaps are estimated with, in voxels: 10 cm at 2.5 cm.
CELL_VOXELS = 4.0


@dataclass(frozen=True)
class ScenePair:
    """Fragments i < j of a scene."""

    scene: TrainingScene
    i: int
    j: int


def overlapping_pairs(
    scenes: Sequence[TrainingScene], voxel_size: float, least: float
) -> list[ScenePair]:
    """
    Return the pairs that share more than `least` of the smaller fragment, scene by scene.

    Raises InputError where there are none.
    """
    pairs = [ScenePair(scene, i, j) for scene in scenes
             for (i, j), overlap in overlaps(scene, CELL_VOXELS * voxel_size).items()
             if overlap > least]
    if not pairs:
        raise InputError(f'no two fragments of {len(scenes)} scenes share more than {least:g}: '
                         'give more scenes, or set less')
    return pairs


def spread(pairs: Sequence[ScenePair], count: int) -> list[ScenePair]:
    """Return at most `count` pairs, evenly spread over all."""
    rows = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    return [pairs[row] for row in rows]


class Neighbors:
    """Which fragments of its scene each fragment overlaps."""

    def __init__(self, pairs: Sequence[ScenePair]) -> None:
        """Take all pairs that overlap."""
        self.of: dict[tuple[str, int], list[int]] = {}
        for pair in pairs:
            for a, b in ((pair.i, pair.j), (pair.j, pair.i)):
                self.of.setdefault((pair.scene.name, a), []).append(b)

    def connected(self, pair: ScenePair, count: int, generator: torch.Generator) -> list[int]:
        """
        Return the fragments of the pair and others, each of which overlaps one before it.

        There are `count` of them, or fewer where no more hang together.
        """
        chosen = [pair.i, pair.j]
        while len(chosen) < count:
            border = sorted({b for a in chosen for b in self.of[pair.scene.name, a]} - {*chosen})
            if not border:
                break
            chosen.append(border[choice(len(border), generator)])
        return chosen


def choice(count: int, generator: torch.Generator) -> int:
    """Return a number below `count`."""
    return int(torch.randint(count, (), generator=generator))


def random_rotation(generator: torch.Generator, max_angle: float = math.pi) -> FloatArray:
    """Return R (3, 3) about an axis of any direction by an angle up to `max_angle`, rad."""
    axis = torch.randn(3, generator=generator, dtype=torch.float64)
    angle = torch.rand((), generator=generator, dtype=torch.float64) * max_angle
    return Rotation.from_rotvec((axis / axis.norm() * angle).numpy()).as_matrix()


def true_matches(points_i: NDArray, points_j: NDArray, radius: float) -> Tensor:
    """
    Return rows (P, 2) int64 of i and of the nearest of j, where that is nearer than the radius.

    points_i: (N, 3), points_j: (M, 3) metres in one frame.
    """
    distance, nearest = cKDTree(points_j).query(points_i, distance_upper_bound=radius)
    rows = np.flatnonzero(distance < radius)
    return torch.from_numpy(np.stack([rows, nearest[rows]], 1))
