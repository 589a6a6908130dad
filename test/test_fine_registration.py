# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The last centimetres of a pair, on surfaces and matches with known answers."""

from __future__ import annotations

from mvreg_ros.pairwise.fine_registration import fine_registration
from mvreg_ros.pairwise.procrustes import weighted_procrustes
from mvreg_ros.types import Correspondences, FloatArray, FragmentFeatures
import numpy as np
import pytest
from random_motion import random_pose
from scipy.spatial.transform import Rotation
import torch

INLIER_DISTANCE = 0.1


def walls(rng: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray]:
    """Return points at random on `count` walls of a room of 2 m, and their normals."""
    points = rng.uniform(0, 2, (600 * count, 3))
    normals = np.repeat(np.eye(3)[:count], 600, 0)
    points[normals.astype(bool)] = 0.0
    return points, normals


def two_views(
    rng: np.random.Generator, count: int, matches: int, noise: float
) -> tuple[FragmentFeatures, FragmentFeatures, Correspondences, FloatArray]:
    """Return a room seen twice, other points of it each time, with matches, and T_i_j."""
    T = random_pose(rng).numpy()
    points_i, normals_i = walls(rng, count)
    world, normals = walls(rng, count)
    there = world - T[:3, 3]
    places = rng.uniform(0, 2, (matches, 3))
    seen = places + rng.normal(0, noise, places.shape)

    def features(points: FloatArray, normals: FloatArray) -> FragmentFeatures:
        xyz, facing = (torch.from_numpy(x).float() for x in (points, normals))
        return FragmentFeatures(xyz, facing, torch.eye(len(xyz), 2), torch.zeros(3))

    rows = torch.arange(matches)
    return (
        features(points_i, normals_i), features(there @ T[:3, :3], normals @ T[:3, :3]),
        Correspondences(0, 1, rows, rows, torch.from_numpy(places).float(),
                        torch.from_numpy((seen - T[:3, 3]) @ T[:3, :3]).float()), T)


def errors(T: FloatArray, truth: FloatArray) -> tuple[float, float]:
    """Return the angle, degrees, and the distance, metres, between two poses."""
    angle = Rotation.from_matrix(T[:3, :3] @ truth[:3, :3].T).magnitude()
    return float(np.degrees(angle)), float(np.linalg.norm(T[:3, 3] - truth[:3, 3]))


def disturbed(T: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return the pose turned by a degree and moved by 2 cm."""
    axis, step = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    result = T.copy()
    result[:3, :3] = Rotation.from_rotvec(np.radians(1) * axis).as_matrix() @ T[:3, :3]
    result[:3, 3] += 0.02 * step
    return result


@pytest.mark.parametrize('seed', range(5))
def test_surfaces_tell_more_than_coarse_matches(seed: int) -> None:
    """In a corner of a room the angle is better by far than that of matches off by 3 cm."""
    i, j, pair, truth = two_views(np.random.default_rng(seed), 3, 30, noise=0.03)
    coarse, _ = weighted_procrustes(
        pair.points_j.double(), pair.points_i.double(), torch.ones(30).double())
    fine = fine_registration(coarse.numpy(), pair, i, j, INLIER_DISTANCE)
    assert errors(fine, truth)[0] < 0.4 * errors(coarse.numpy(), truth)[0]


@pytest.mark.parametrize('seed', range(5))
def test_matches_hold_what_slides_along_a_wall(seed: int) -> None:
    """A single wall leaves three directions open: exact matches decide them."""
    rng = np.random.default_rng(seed)
    i, j, pair, truth = two_views(rng, 1, 100, noise=0.0)
    found = fine_registration(disturbed(truth, rng), pair, i, j, INLIER_DISTANCE)
    angle, distance = errors(found, truth)
    assert angle < 0.1 and distance < 0.003


def test_the_right_pose_stays() -> None:
    """Where all fits nothing moves."""
    i, j, pair, truth = two_views(np.random.default_rng(0), 3, 50, noise=0.0)
    angle, distance = errors(fine_registration(truth, pair, i, j, INLIER_DISTANCE), truth)
    assert angle < 1e-3 and distance < 1e-5


def test_surfaces_that_do_not_meet_change_nothing() -> None:
    """Fragments that are metres apart keep the pose of their matches, bit for bit."""
    i, j, pair, truth = two_views(np.random.default_rng(0), 3, 50, noise=0.01)
    far = truth.copy()
    far[:3, 3] += 5.0
    np.testing.assert_array_equal(fine_registration(far, pair, i, j, INLIER_DISTANCE), far)


def test_surfaces_do_not_take_a_pose_from_its_matches() -> None:
    """Matches say that the pose is right; a wall 12 cm off, another one perhaps, draws at it."""
    rng = np.random.default_rng(0)
    i, j, pair, truth = two_views(rng, 1, 12, noise=0.0)
    shifted = FragmentFeatures(
        i.points + torch.tensor([0.12, 0.0, 0.0]), i.normals, i.descriptors, i.sensor_origin)
    np.testing.assert_array_equal(
        fine_registration(truth, pair, shifted, j, INLIER_DISTANCE), truth)


@pytest.mark.parametrize('seed', range(5))
def test_surfaces_bring_back_what_few_matches_left_far_off(seed: int) -> None:
    """Three matches, off by 5 cm, say little: a pose 19 cm off in each direction is found."""
    i, j, pair, truth = two_views(np.random.default_rng(seed), 3, 3, noise=0.05)
    off = truth.copy()
    off[:3, 3] += 0.19
    angle, distance = errors(fine_registration(off, pair, i, j, INLIER_DISTANCE), truth)
    assert angle < 0.5 and distance < 0.03
