# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a sensor should have seen: a wall, and a twin that compares each point with all others."""

from __future__ import annotations

from mvreg_ros.pairwise.depth_image import COLUMNS, DepthImage, ROWS
from mvreg_ros.types import FragmentFeatures
import numpy as np
import torch

TOLERANCE = 0.1


def seen(points: np.ndarray, origin: tuple[float, float, float] = (0, 0, 0)) -> FragmentFeatures:
    """Return a fragment with keypoints (N, 3) and its sensor at the origin given."""
    xyz = torch.from_numpy(np.asarray(points, np.float32))
    return FragmentFeatures(xyz, xyz, xyz, torch.tensor(origin, dtype=torch.float32))


def wall(x: float) -> np.ndarray:
    """Return points (N, 3) of a wall of 4 by 2 m at x, 4 cm apart."""
    y, z = np.meshgrid(np.arange(-2, 2, 0.04), np.arange(-1, 1, 0.04))
    return np.stack([np.full(y.size, x), y.ravel(), z.ravel()], 1)


def test_in_front_contradicts_on_it_agrees_and_behind_says_nothing() -> None:
    image = DepthImage(seen(wall(3)), TOLERANCE)
    middle = wall(1)[np.abs(wall(1)[:, 1:]).max(1) < 0.07]  # in the directions of the wall
    for distance, agrees, contradicts in (
        (1.0, 0, 1), (2.7, 0, 1), (2.87, 0, 0), (2.95, 1, 0), (3.05, 1, 0), (3.5, 0, 0),
    ):
        agree, contradict = image.compare(middle * distance)
        assert (agree.mean(), contradict.mean()) == (agrees, contradicts), distance


def test_beside_the_image_nothing_is_said() -> None:
    image = DepthImage(seen(wall(3)), TOLERANCE)
    for points in (-wall(3), wall(1) + np.array([0, 0, 5])):
        agree, contradict = image.compare(points)
        assert not agree.any() and not contradict.any()


def test_the_sensor_may_stand_anywhere() -> None:
    origin = (5.0, -2.0, 1.0)
    points = np.random.default_rng(0).uniform(-3, 3, (400, 3))
    here = DepthImage(seen(wall(3)), TOLERANCE).compare(points)
    there = DepthImage(seen(wall(3) + origin, origin), TOLERANCE).compare(points + origin)
    for a, b in zip(here, there, strict=True):
        assert (a != b).mean() < 0.01  # at the edge of a pixel rounding decides


def test_what_was_seen_from_too_far_says_nothing() -> None:
    """A pixel of two degrees is 1.4 m wide at 40 m, more than four tolerances."""
    agree, contradict = DepthImage(seen(wall(3) * 14), TOLERANCE).compare(wall(3))
    assert not agree.any() and not contradict.any()


def test_it_is_the_comparison_with_all_points_of_nine_pixels() -> None:
    """Also across the seam of the image, where it goes round."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(3000, 3)) * (2, 2, 0.7)
    asked = rng.normal(size=(300, 3)) * (2, 2, 0.7)
    agree, contradict = DepthImage(seen(points), TOLERANCE).compare(asked)

    def polar(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        depth = np.linalg.norm(p, axis=1)
        row = np.floor((np.arcsin(p[:, 2] / depth) / np.pi + 0.5) * ROWS)
        column = np.floor((np.arctan2(p[:, 1], p[:, 0]) / np.pi + 1) / 2 * COLUMNS)
        return row, column, depth

    row, column, depth = polar(np.asarray(points, np.float32).astype(float))
    for k, (r, c, d) in enumerate(zip(*polar(asked), strict=True)):
        beside = np.abs(column - c)
        near = (np.abs(row - r) <= 1) & (np.minimum(beside, COLUMNS - beside) <= 1)
        if not near.any():
            assert not agree[k] and not contradict[k]
            continue
        first, last = depth[near].min(), depth[near].max()
        assert agree[k] == (first - TOLERANCE < d < last + TOLERANCE)
        assert contradict[k] == (d < first - 2 * TOLERANCE)
