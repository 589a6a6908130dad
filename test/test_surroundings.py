# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Edges that fit by themselves, and whether what is around them fits as well."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.cache import MemoryCache
from mvreg_ros.multiview.surroundings import median_share, Surroundings, SurroundingsConfig
from mvreg_ros.types import Edges, FloatArray, FragmentFeatures, PairRegistration
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import torch

TOLERANCE = 0.1
VIEWS = 6  # of each room, a sixth of a turn apart


def room(width: float, depth: float) -> FloatArray:
    """Return points (N, 3) of the walls of a room around the origin, 6 cm apart, 2 m high."""
    z, x = (side.ravel() for side in np.meshgrid(
        np.arange(-1, 1, 0.06), np.arange(-width / 2, width / 2, 0.06)))
    w, y = (side.ravel() for side in np.meshgrid(
        np.arange(-1, 1, 0.06), np.arange(-depth / 2, depth / 2, 0.06)))
    return np.concatenate([
        *(np.stack([x, np.full(x.size, s * depth / 2), z], 1) for s in (-1, 1)),
        *(np.stack([np.full(y.size, s * width / 2), y, w], 1) for s in (-1, 1))])


def views(points: FloatArray, poses: FloatArray) -> list[FragmentFeatures]:
    """Return what a camera that sees 70 degrees has of the points from each of the poses."""
    found = []
    for T in poses:
        own = (points - T[:3, 3]) @ T[:3, :3]
        inside = np.abs(np.arctan2(own[:, 1], own[:, 0])) < np.radians(35)
        xyz = torch.from_numpy(own[inside]).float()
        found.append(FragmentFeatures(xyz, xyz, xyz, torch.zeros(3)))
    return found


def turning() -> FloatArray:
    """Return the poses (VIEWS, 4, 4) of a camera that turns once round in the middle."""
    poses = np.tile(np.eye(4), (VIEWS, 1, 1))
    turns = np.arange(VIEWS)[:, None] / VIEWS * 360
    poses[:, :3, :3] = Rotation.from_euler('z', turns, degrees=True).as_matrix()
    return poses


# Two rooms with the same end wall, one narrower than the other.
POSES = turning()
FEATURES = [*views(room(4, 3), POSES), *views(room(4, 7), POSES)]


def edge(i: int, j: int, T_i_j: FloatArray, evidence: float = 100.0) -> PairRegistration:
    return PairRegistration(i, j, T_i_j, 100, evidence, 0.9, np.eye(6))


def within_rooms() -> list[PairRegistration]:
    """Return the true edges from each view to the next two of its room."""
    return [
        edge(first + min(k, n), first + max(k, n), np.linalg.inv(POSES[min(k, n)]) @ POSES[
            max(k, n)])
        for first in (0, VIEWS) for k in range(VIEWS) for n in [(k + 1) % VIEWS]]


# The views of the end walls see nothing else: they lie on each other to the last point.
LEFT = VIEWS // 2
ACROSS = edge(LEFT, VIEWS + LEFT, np.eye(4))


def test_right_edges_are_not_contradicted() -> None:
    edges = Edges.of(within_rooms())
    surroundings = Surroundings(FEATURES, TOLERANCE)
    assert surroundings.contradiction(edges).max() < 0.01
    assert surroundings.undisputed(edges).min() > 0.99


def test_an_edge_that_fits_by_itself_is_contradicted_by_what_is_around_it() -> None:
    """The two views that it joins see the same; their neighbours do not."""
    edges = Edges.of([*within_rooms(), ACROSS])
    alone = Surroundings(FEATURES, TOLERANCE, SurroundingsConfig(neighbors=0))
    assert alone.contradiction(edges)[-1] < 0.02
    found = Surroundings(FEATURES, TOLERANCE)
    assert found.contradiction(edges)[-1] > 0.05
    assert found.undisputed(edges)[-1] < 0.3


def test_one_wrong_neighbor_does_not_spoil_what_is_right() -> None:
    """The wrong edge has the most evidence of all, so that it is a neighbour of four others."""
    edges = Edges.of([*within_rooms(), replace(ACROSS, evidence=500.0)])
    assert Surroundings(FEATURES, TOLERANCE).contradiction(edges)[:-1].max() < 0.02


def test_weak_edges_are_not_asked_and_make_no_neighbors() -> None:
    right = within_rooms()
    edges = Edges.of([*right, replace(ACROSS, evidence=19.0)])
    surroundings = Surroundings(FEATURES, TOLERANCE)
    np.testing.assert_array_equal(
        surroundings.contradiction(edges), [*surroundings.contradiction(Edges.of(right)), 0])


def test_what_was_asked_before_changes_nothing() -> None:
    few, many = Edges.of(within_rooms()[:8]), Edges.of([*within_rooms(), ACROSS])
    surroundings = Surroundings(FEATURES, TOLERANCE)
    surroundings.contradiction(few)
    np.testing.assert_array_equal(
        surroundings.contradiction(many), Surroundings(FEATURES, TOLERANCE).contradiction(many))


def test_what_was_compared_is_recalled_by_what_the_fragments_are() -> None:
    """Nothing is left to see in the fragments of the second round but their names."""
    cache, edges = MemoryCache(), Edges.of([*within_rooms(), ACROSS])
    named = [replace(feature, key=f'view {k}') for k, feature in enumerate(FEATURES)]
    found = Surroundings(named, TOLERANCE, cache=cache).contradiction(edges)
    empty = [replace(feature, points=feature.points[:1]) for feature in named]
    recalled = Surroundings(empty, TOLERANCE, cache=cache).contradiction(edges)
    np.testing.assert_array_equal(recalled, found)
    others = [replace(feature, key=f'{feature.key} of another room') for feature in empty]
    assert Surroundings(others, TOLERANCE, cache=cache).contradiction(edges).max() == 0


@pytest.mark.parametrize('rows, expected', [
    ([[(90, 10)]], 0.1),
    ([[(0, 0)]], 0.0),
    ([[(100, 0)], [(100, 0)], [(0, 100)]], 0.0),
    ([[(100, 0)], [(10, 40), (20, 30)], [(0, 100)]], 0.7),
    # One that sees more than enough counts like the others.
    ([[(0, 90000)], [(500, 0)], [(500, 0)]], 0.0),
])
def test_the_median_of_rows(rows: list[list[tuple[int, int]]], expected: float) -> None:
    width = max(map(len, rows))
    counts = np.array([row + [(0, 0)] * (width - len(row)) for row in rows], float)
    assert median_share(counts) == pytest.approx(expected)
