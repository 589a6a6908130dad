# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Matching, spatial consistency and confidence."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.pairwise import matching
from mvreg_ros.pairwise.confidence import inlier_confidence, undisputed
from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.information import correspondence_information
from mvreg_ros.pairwise.matching import match, mutual_nearest_neighbors
from mvreg_ros.pairwise.registration import PairwiseRegistration
from mvreg_ros.pairwise.visibility import MAX_APART, MAX_POINTS, Visibility, visibility
from mvreg_ros.types import Correspondences, FragmentFeatures
import numpy as np
import pytest
from random_motion import random_pose, transform
from scipy.spatial.transform import Rotation
import torch

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 200, 10**6]),
       st.booleans())
def test_mutual_neighbors_are_those_of_brute_force(
    seed: int, count_i: int, count_j: int, max_bytes: int, openblas: bool
) -> None:
    """Nearest both ways in the full table of products; of equals only one."""
    rng = np.random.default_rng(seed)
    # Small whole numbers: many products are equal, and all are exact.
    a, b = (rng.integers(-2, 3, (n, 4)).astype(float) for n in (count_i, count_j))
    table = a @ b.T
    with patch.object(matching, 'numpy_has_openblas', lambda: openblas):
        i, j = (rows.tolist() for rows in mutual_nearest_neighbors(
            torch.from_numpy(a), torch.from_numpy(b), max_bytes))
    assert len(set(i)) == len(i)
    assert len(set(j)) == len(j)
    for row, column in zip(i, j, strict=True):
        assert table[row, column] == table[row].max() == table[:, column].max()
    strict = {
        (row, column) for row, column in np.ndindex(table.shape)
        if (table[row] >= table[row, column]).sum() == 1
        and (table[:, column] >= table[row, column]).sum() == 1
    }
    assert strict <= set(zip(i, j, strict=True))


@pytest.mark.parametrize(('least', 'taken'), [(0, [0, 2]), (1, [0, 2]), (3, [0, 2, 3]),
                                              (9, [0, 1, 2, 3])])
def test_matches_are_alike_but_never_too_few(least: int, taken: list[int]) -> None:
    """The cosine decides until fewer than `least` are left; then the most alike are taken."""
    cosines = torch.tensor([0.9, 0.2, 0.8, 0.4])
    points = torch.zeros(4, 3)
    i = FragmentFeatures(points, points, torch.eye(4, 8), torch.zeros(3))
    turned = torch.cat([cosines.diag(), (1 - cosines**2).sqrt().diag()], 1)
    j = FragmentFeatures(points, points, turned, torch.zeros(3))
    pair = match(0, 1, i, j, min_similarity=0.7, least=least)
    assert pair.rows_i.tolist() == pair.rows_j.tolist() == taken


def noisy_pair(
    rng: np.random.Generator, inliers: int, outliers: int
) -> tuple[Correspondences, torch.Tensor]:
    """Return correspondences of a room-sized pair, the first of them right, and T_i_j."""
    T = random_pose(rng).float()
    points = torch.from_numpy(rng.uniform(-1.5, 1.5, (inliers + outliers, 3))).float()
    target = transform(T, points) + torch.from_numpy(
        rng.normal(0, 0.01, points.shape)).float()
    target[inliers:] = transform(
        T, torch.from_numpy(rng.uniform(-1.5, 1.5, (outliers, 3))).float()
    )
    rows = torch.arange(len(points))
    return Correspondences(0, 1, rows, rows, target, points), T


def test_spatial_consistency_finds_one_inlier_in_ten() -> None:
    """60 right among 600: the right ones get the weight, and the pose is within a degree."""
    pair, T = noisy_pair(np.random.default_rng(0), 60, 540)
    weights = SpatialConsistency(0.1)(pair)[0]
    assert weights[:60].mean() > 0.8
    assert weights[60:].mean() < 0.05
    found = PairwiseRegistration(SpatialConsistency(0.1), 0.1).estimates(pair)[0]
    assert found.inliers >= 60
    angle = Rotation.from_matrix(found.T_i_j[:3, :3].T @ T[:3, :3].double().numpy()).magnitude()
    assert np.degrees(angle) < 1
    assert np.linalg.norm(found.T_i_j[:3, 3] - T[:3, 3].numpy()) < 0.03


def test_more_matches_than_seeds_still_work() -> None:
    """With fewer seeds than matches the best are chosen, and the answer is as good."""
    pair, _ = noisy_pair(np.random.default_rng(5), 80, 520)
    weights = SpatialConsistency(0.1, max_seeds=64)(pair)[0]
    assert weights[:80].mean() > 0.8


def test_matches_without_a_common_motion_get_no_confidence() -> None:
    """Random matches have few inliers; none, one and two are no pose at all."""
    pair, _ = noisy_pair(np.random.default_rng(1), 0, 300)
    assert PairwiseRegistration(SpatialConsistency(0.1), 0.1).estimates(pair)[0].confidence < 0.3
    for count in (0, 1, 2):
        pair, _ = noisy_pair(np.random.default_rng(1), count, 0)
        empty = PairwiseRegistration(SpatialConsistency(0.1), 0.1).estimates(pair)[0]
        assert empty.inliers == 0
        assert empty.confidence < 1e-6
        np.testing.assert_array_equal(empty.T_i_j, np.eye(4))


def test_confidence_rises_from_zero_to_one() -> None:
    """Monotone in the count, a half where right and wrong are level, and within [0, 1]."""
    curve = inlier_confidence(np.arange(0, 2000))
    assert (np.diff(curve) > 0).all()
    assert curve[0] < 1e-6
    assert inlier_confidence(24) == 0.5
    assert 0.99 < curve[-1] < 1


def box_corner(furniture: bool) -> FragmentFeatures:
    """Return the keypoints of a corner seen from two metres away, with or without a box in it."""
    a, b = (x.reshape(-1) for x in torch.meshgrid(
        torch.arange(0, 2, 0.05), torch.arange(0, 2, 0.05), indexing='ij'))
    zero = torch.zeros_like(a)
    walls = [torch.stack(x, 1) for x in ((a, b, zero), (zero, a, b), (a, zero, b))]
    box = torch.stack([0.6 + 0.2 * a, 0.6 + 0.2 * b, 0.8 + zero], 1)
    points = torch.cat([*walls, box] if furniture else walls)
    return FragmentFeatures(points, points, points, torch.tensor([2.0, 2.0, 2.0]))


def test_what_one_sensor_saw_through_contradicts_what_stands_there_for_the_other() -> None:
    """The same corner agrees with itself; a box where the other saw the floor does not."""
    empty, full = box_corner(False), box_corner(True)
    eye = torch.eye(4, dtype=torch.float64)
    assert visibility(empty, empty, eye, 0.1).contradiction == 0
    assert visibility(full, full, eye, 0.1).contradiction == 0
    boxes = len(full.points) - len(empty.points)
    seen = visibility(empty, full, eye, 0.1).contradiction
    # Its points are in front of the empty corner; seen from the box, the floor is only hidden.
    assert 0.8 * boxes < seen * (len(full.points) + len(empty.points)) <= 1.2 * boxes
    assert visibility(full, empty, eye, 0.1).contradiction == seen
    far = eye.clone()
    far[:3, 3] = 50
    assert visibility(full, full, far, 0.1).contradiction == 0  # nothing seen in common


def test_visibility_is_that_of_all_lines_of_sight_one_by_one() -> None:
    """Every point against every line of sight, but those that end too far away."""
    generator = torch.Generator().manual_seed(0)
    angle, tolerance = 0.1, 0.1
    a, b = (4 * torch.rand(400, 3, generator=generator) for _ in range(2))
    reach = MAX_APART * tolerance / angle
    expected, beyond = [0, 0], 0
    for points, other in ((b, a), (a, b)):
        for point in points.double():
            cosine = other.double() @ point / other.double().norm(dim=1) / point.norm()
            near = 2 - 2 * cosine < angle**2
            beyond += int((near & (other.norm(dim=1) >= reach)).sum())
            seen = other[near & (other.norm(dim=1) < reach)].double()
            behind = seen.norm(dim=1) - point.norm()
            if len(behind):
                expected[0] += bool((behind.abs() < tolerance).any())
                expected[1] += bool((behind > 2 * tolerance).all())
    one, two = (FragmentFeatures(p, p, p, torch.zeros(3)) for p in (a, b))
    found = visibility(one, two, torch.eye(4), tolerance, angle)
    assert found == Visibility(*expected, 800)
    assert min(expected) > 50 and beyond > 50


def test_a_sensor_far_from_what_it_saw_says_nothing() -> None:
    """As for a cloud in the frame of a map: all of it lies in one direction."""
    full = box_corner(True)
    far = replace(full, sensor_origin=torch.tensor([300.0, 400.0, 2.0]))
    points = 2 * len(full.points[:: 1 + len(full.points) // MAX_POINTS])
    assert visibility(far, far, torch.eye(4), 0.1) == Visibility(0, 0, points)


def test_evidence_shrinks_with_the_contradiction() -> None:
    """All of it without any, half at six percent, and less the more there is."""
    left = [undisputed(share) for share in np.linspace(0, 1, 50)]
    assert left[0] == 1
    assert undisputed(0.06) == 0.5
    assert (np.diff(left) < 0).all()


def test_information_is_the_second_derivative_of_the_cost() -> None:
    """[I | -[p]x] squared and summed is the Hessian of half the cost, by finite differences."""
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.normal(size=(15, 3)))
    weights = torch.from_numpy(rng.uniform(0, 1, 15))
    information = correspondence_information(points, weights, 0.05).numpy()

    def cost(step: np.ndarray) -> float:
        moved = Rotation.from_rotvec(step[3:]).apply(points.numpy()) + step[:3]
        square = ((moved - points.numpy()) ** 2).sum(1)
        return float((weights.numpy() * square).sum() / 0.05**2)

    h = 1e-4
    for a in range(6):
        for b in range(6):
            ea, eb = h * np.eye(6)[a], h * np.eye(6)[b]
            mixed = cost(ea + eb) - cost(ea - eb) - cost(eb - ea) + cost(-ea - eb)
            assert abs(mixed / (8 * h * h) - information[a, b]) < 1e-3 * information.max()
