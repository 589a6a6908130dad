# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The descriptors of those around a keypoint: their means, what is made of them, the poses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mvreg_ros.features.context_network import ContextNetwork, SURROUNDINGS, USUAL
from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.registration import distinct, PairwiseRegistration
from mvreg_ros.session.cache import SessionCache
from mvreg_ros.types import FragmentFeatures, PairRegistration
import numpy as np
from random_motion import random_pose, transform
from scipy.spatial.transform import Rotation
import torch
from torch.nn.functional import normalize

CHANNELS, RADII = 6, (2.0, 4.0)


def keypoints() -> tuple[torch.Tensor, torch.Tensor]:
    """Return points in a cube, one far from all, and descriptors."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(80, 3, generator=generator)
    points[-1] = 9.0
    return points, normalize(torch.randn(80, CHANNELS, generator=generator), dim=1)


def exact(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return all distances, free of the rounding of cdist's fast form."""
    return (a[:, None] - b).norm(dim=2)


def network() -> ContextNetwork:
    """Return a network whose second part has learned something."""
    torch.manual_seed(0)
    found = ContextNetwork(CHANNELS, RADII, (8,), 0.1).eval()
    torch.nn.init.normal_(found.out.weight)
    return found


def test_inputs_are_means_and_counts_within_the_radii() -> None:
    """Against all distances; a keypoint is its own neighbour."""
    points, descriptors = keypoints()
    inputs = network().inputs(points, descriptors, 0.1)
    near = [(exact(points, points) < radius * 0.1).float() for radius in RADII]
    means = [n @ descriptors / n.sum(1, keepdim=True) for n in near]
    counts = torch.stack([n.sum(1) for n in near], 1)
    expected = torch.cat([
        CHANNELS**0.5 * torch.cat([descriptors, *means], 1), counts.log1p() - USUAL], 1)
    torch.testing.assert_close(inputs, expected, atol=1e-5, rtol=0)
    assert 1 < counts[:-1].mean() < 80 and (counts[-1] == 1).all()


def test_it_begins_as_the_descriptor_beside_its_surroundings() -> None:
    """Two are as alike as their keypoints and, with a weight, those around are."""
    points, descriptors = keypoints()
    fresh = ContextNetwork(CHANNELS, RADII, (8,), 0.1).eval()
    found = fresh(fresh.inputs(points, descriptors, 0.1))
    near = (exact(points, points) < RADII[0] * 0.1).float()
    around = normalize(near @ descriptors, dim=1)
    expected = descriptors @ descriptors.T + SURROUNDINGS * around @ around.T
    torch.testing.assert_close(
        found @ found.T, expected / (1 + SURROUNDINGS), atol=1e-5, rtol=0)


def test_what_is_far_away_changes_nothing() -> None:
    """Nor does the order of the keypoints, or the unit, and all are of unit length."""
    points, descriptors = keypoints()
    context = network()

    def described(rows: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        refined: torch.Tensor = context(
            context.inputs(scale * points[rows], descriptors[rows], scale * 0.1))
        return refined

    everything = described(torch.arange(80))
    torch.testing.assert_close(everything.norm(dim=1), torch.ones(80))
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(described(order), everything[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        described(torch.arange(80), 4.0), everything, atol=1e-5, rtol=0)
    near = ((points - points[0]).norm(dim=1) < 0.9).nonzero()[:, 0]
    assert 10 < len(near) < 79
    torch.testing.assert_close(described(near)[0], everything[0], atol=1e-5, rtol=0)


def test_poses_are_sought_among_both_matches_and_judged_by_the_keypoints() -> None:
    """Of two motions the keypoints alone show one, and with those around them the other."""
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform(-1.5, 1.5, (60, 3))).float()
    normals = normalize(points, dim=1)
    first, second = random_pose(rng), random_pose(rng)
    there = torch.cat([transform(first.float(), points[:40]), transform(second.float(), points)])
    codes = torch.eye(160)
    i = FragmentFeatures(
        there, normalize(there, dim=1), torch.cat([codes[:40], codes[100:]]), torch.zeros(3),
        context=torch.cat([codes[100:140], codes[:60]]))
    j = FragmentFeatures(
        points, normals, codes[:60], torch.zeros(3), context=codes[:60])
    register = PairwiseRegistration(SpatialConsistency(0.1), 0.1, clear_inliers=41)

    def near(pose: PairRegistration, T: torch.Tensor) -> bool:
        return bool(np.abs(pose.T_i_j - T.numpy()).max() < 1e-3)

    found, _ = register.poses(0, 1, i, j)
    assert near(found[0], first) and found[0].inliers == 40
    assert any(near(pose, second) for pose in found)
    alone, _ = register.poses(0, 1, replace(i, context=None), replace(j, context=None))
    assert not any(near(pose, second) for pose in alone)
    clear = replace(register, clear_inliers=40)
    assert not any(near(pose, second) for pose in clear.poses(0, 1, i, j)[0])


def test_the_same_motion_is_tried_once() -> None:
    """Poses that are nearly one are one, the first of them; those without inliers are none."""
    def pose(angle: float, shift: float, inliers: int = 20) -> PairRegistration:
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec([0, 0, np.radians(angle)]).as_matrix()
        T[0, 3] = shift
        return PairRegistration(0, 1, T, inliers, 1.0, 0.5, np.eye(6))

    poses = [pose(0, 0, 0), pose(0, 0), pose(5, 0.1), pose(7, 0.0), pose(0, 0.3), pose(9, 0.1)]
    assert distinct(poses, 0.1) == [poses[1], poses[3], poses[4]]


def test_a_session_knows_them_again(tmp_path: Path) -> None:
    """With those around and without, bit for bit."""
    points, descriptors = keypoints()
    cache = SessionCache(tmp_path, torch.device('cpu'))
    for context in (None, 2 * descriptors):
        features = FragmentFeatures(
            points, points, descriptors, torch.zeros(3), context=context)
        cache.keep(str(context is None), features)
        again = cache.find(str(context is None))
        assert torch.equal(again.descriptors, descriptors)
        assert again.context is None if context is None else torch.equal(again.context, context)
    cache.close()
