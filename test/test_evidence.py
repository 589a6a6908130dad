# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several motions of a pair, what speaks for each, and what is made of it."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.pairwise.confidence import inlier_confidence, inliers_worth, undisputed
from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.evidence import counted, evidence_for, EvidenceNetwork, NAMES
from mvreg_ros.pairwise.matching import match
from mvreg_ros.pairwise.procrustes import residuals
from mvreg_ros.pairwise.registration import PairwiseRegistration
from mvreg_ros.pairwise.visibility import Visibility
from mvreg_ros.types import FragmentFeatures
import numpy as np
import pytest
from random_motion import random_pose, transform
import torch

INLIER_DISTANCE = 0.1


def two_motions(first: int, second: int) -> tuple[
    FragmentFeatures, FragmentFeatures, torch.Tensor, torch.Tensor
]:
    """Return fragments whose matches follow T_i_j in the first places, another in the rest."""
    rng = np.random.default_rng(4)
    T, other = random_pose(rng).float(), random_pose(rng).float()
    count = first + second
    points = torch.from_numpy(rng.uniform(-1.5, 1.5, (count, 3))).float()
    normals = torch.nn.functional.normalize(torch.from_numpy(
        rng.normal(size=(count, 3))).float(), dim=1)
    target = torch.cat([transform(T, points[:first]), transform(other, points[first:])])
    turned = torch.cat([normals[:first] @ T[:3, :3].T, normals[first:] @ other[:3, :3].T])
    codes = torch.eye(count)  # every keypoint is like its own partner and no other
    origin = torch.zeros(3)
    return (FragmentFeatures(target, turned, codes, origin),
            FragmentFeatures(points, normals, codes, origin), T, other)


def test_motions_come_with_the_most_agreed_on_first() -> None:
    """60 matches follow one motion and 40 another: both are found, and no third."""
    i, j, T, other = two_motions(60, 40)
    weights = SpatialConsistency(INLIER_DISTANCE)(match(0, 1, i, j))
    assert (weights[0, :60] > 0.9).all()
    assert (weights[1, 60:] > 0.9).all()
    poses = PairwiseRegistration(
        SpatialConsistency(INLIER_DISTANCE), INLIER_DISTANCE).estimates(match(0, 1, i, j))
    np.testing.assert_allclose(poses[0].T_i_j, T, atol=1e-4)
    np.testing.assert_allclose(poses[1].T_i_j, other, atol=1e-4)
    assert all(pose.inliers < 15 for pose in poses[2:])


def test_the_confidence_block_decides_between_motions() -> None:
    """What rewards inliers takes the first; what rewards rivals takes the second."""
    i, j, T, other = two_motions(60, 40)
    for name, expected in (('log inliers', T), ('log rivals', other)):
        column = NAMES.index(name)
        register = PairwiseRegistration(
            SpatialConsistency(INLIER_DISTANCE), INLIER_DISTANCE, lambda x, k=column: x[:, k])
        found = register(0, 1, i, j)
        np.testing.assert_allclose(found.T_i_j, expected, atol=1e-4)
        assert found.confidence == pytest.approx(inlier_confidence(found.evidence))
    assert found.evidence == pytest.approx(inliers_worth(np.log1p(60 / found.inliers)), rel=0.05)


def test_evidence_is_what_its_names_say() -> None:
    """A pose with 60 of 100 matches and a rival with 40, all else made up."""
    i, j, T, _ = two_motions(60, 40)
    pair = match(0, 1, i, j)
    residual = residuals(T, pair.points_j, pair.points_i)
    inliers = int((residual < INLIER_DISTANCE).sum())
    found = evidence_for(pair, i, j, T, residual, 40 / inliers, Visibility(30, 10, 200),
                         INLIER_DISTANCE)
    named = dict(zip(NAMES, found.tolist(), strict=True))
    assert named['log inliers'] == pytest.approx(np.log1p(inliers))
    assert named['log matches'] == pytest.approx(np.log1p(100))
    assert named['inlier ratio'] == pytest.approx(inliers / 100)
    assert named['contradiction'] == pytest.approx(10 / 40)
    assert named['overlap'] == pytest.approx(30 / 200)
    assert named['normals'] > 0.95
    assert named['similarity of matches'] == pytest.approx(1)
    spread = np.linalg.svd(
        pair.points_i[:60] - pair.points_i[:60].mean(0), compute_uv=False) / np.sqrt(60)
    # Points in a cube of 3 m spread by 0.87 m in each direction.
    for k in range(3):
        assert np.expm1(named[f'log spread {k + 1}']) * INLIER_DISTANCE == pytest.approx(
            spread[2 - k], rel=0.1)


def test_no_frame_and_no_unit_is_left_in_the_evidence() -> None:
    """Both fragments moved, and all lengths doubled: the same numbers."""
    i, j, T, _ = two_motions(60, 40)
    rng = np.random.default_rng(8)
    A, B = random_pose(rng).float(), random_pose(rng).float()

    def moved(features: FragmentFeatures, M: torch.Tensor) -> FragmentFeatures:
        return replace(features, points=2 * transform(M, features.points),
                       normals=features.normals @ M[:3, :3].T)

    T_moved = A @ T @ torch.linalg.inv(B)
    T_moved[:3, 3] *= 2
    found = []
    for a, b, pose, distance in ((i, j, T, 0.1), (moved(i, A), moved(j, B), T_moved, 0.2)):
        pair = match(0, 1, a, b)
        found.append(evidence_for(
            pair, a, b, pose, residuals(pose, pair.points_j, pair.points_i), 0.5,
            Visibility(30, 10, 200), distance))
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=0)


def test_counting_is_the_curve_over_inliers_that_are_not_disputed() -> None:
    evidence = torch.zeros(2, len(NAMES))
    evidence[:, NAMES.index('log inliers')] = torch.tensor([40.0, 40.0]).log1p()
    evidence[1, NAMES.index('contradiction')] = 0.1
    worth = [inliers_worth(logit) for logit in counted(evidence).tolist()]
    assert worth == pytest.approx([40, 40 * undisputed(0.1)], rel=1e-5)


def test_certainty_is_finite() -> None:
    """The worth of a logit has the probability of that logit, up to where nobody can know."""
    for logit in (-5.0, 0.0, 3.0):
        assert inlier_confidence(inliers_worth(logit)) == pytest.approx(1 / (1 + np.exp(-logit)))
    assert inliers_worth(1e9) == inliers_worth(15)


def test_the_network_knows_only_deviations_from_what_it_began_with() -> None:
    """Other units of the same evidence make no difference to a network begun with them."""
    torch.manual_seed(0)
    network = EvidenceNetwork()
    evidence = torch.randn(500, len(NAMES))
    network.begin_with(evidence)
    expected = network(evidence)
    network.begin_with(3 * evidence + 7)
    torch.testing.assert_close(network(3 * evidence + 7), expected, atol=0.01, rtol=0)


def test_a_confidence_is_calibrated_on_what_happened() -> None:
    """Where poses with one logit are right three times in four, it says three in four."""
    torch.manual_seed(0)
    network = EvidenceNetwork()
    evidence = torch.zeros(2, len(NAMES))
    evidence[:, NAMES.index('log inliers')] = torch.tensor([40.0, 10.0]).log1p()
    right = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    network.calibrate(torch.cat([evidence[:1].repeat(4, 1), evidence[1:].repeat(8, 1)]), right)
    torch.testing.assert_close(
        network.confidence(evidence).sigmoid(), torch.tensor([3 / 4, 1 / 8]), atol=1e-3, rtol=0)


def test_a_calibration_never_turns_the_order_around() -> None:
    """Of labels that contradict all evidence nothing is learnt but doubt; of one kind, nothing."""
    torch.manual_seed(0)
    network = EvidenceNetwork()
    evidence = 1 + torch.rand(50, len(NAMES))
    network.calibrate(evidence, (network.confidence(evidence) < 0).float())
    assert network.platt[0] > 0
    network.calibrate(evidence, torch.ones(50))
    assert network.platt.tolist() == [1.0, 0.0]
