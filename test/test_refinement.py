# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GICP, fusion of estimates and the pose-graph optimisation."""

from __future__ import annotations

from dataclasses import replace

import gtsam
from mvreg_ros.multiview.graph import components
from mvreg_ros.multiview.optimization import optimize_poses
from mvreg_ros.multiview.refinement import refine_edges, RefinementConfig
from mvreg_ros.multiview.se3 import fuse, swap_order
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import Fragment, Verdict
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_scene import fragments, VOXEL_SIZE
from test_multiview import edges_of, noise, random_poses, relative


def test_icp_repairs_a_disturbed_edge_and_leaves_a_hopeless_one() -> None:
    """From 3 degrees and 6 cm off to the noise of the points; no overlap changes nothing."""
    clouds, truth = fragments()
    scene = [Fragment(cloud, id=k) for k, cloud in enumerate(clouds)]
    i, j = np.array([0, 0]), np.array([1, 3])
    edges = edges_of(i, j, relative(truth, i, j), np.array([90, 90]))
    start = truth @ noise(np.random.default_rng(0), 5, 0.02, 0.03)
    edges = replace(edges, T_i_j=relative(start, i, j), verdict=np.full(2, Verdict.KEPT, object))
    steps: list[tuple[str, int, int]] = []
    refined = refine_edges(
        scene, edges, VOXEL_SIZE, lambda *step: steps.append(step), config=RefinementConfig())
    error = np.linalg.inv(relative(truth, i, j)) @ refined.T_i_j
    assert np.degrees(rotation_angle(error[0, :3, :3])) < 0.3
    assert np.linalg.norm(error[0, :3, 3]) < 0.01
    np.testing.assert_array_equal(refined.T_i_j[1], edges.T_i_j[1])
    np.testing.assert_array_equal(refined.information[1], edges.information[1])
    assert np.linalg.eigvalsh(refined.information[0] - edges.information[0]).min() > 0
    assert steps == [('refinement', 1, 2), ('refinement', 2, 2)]


def test_fusion_weighs_by_information() -> None:
    """Equal information meets halfway; a direction that only one knows is taken from it."""
    a, b = np.eye(4), np.eye(4)
    b[:3, 3] = [0.2, 0.4, 0]
    middle, information = fuse(a, np.eye(6), b, np.eye(6))
    np.testing.assert_allclose(middle[:3, 3], [0.1, 0.2, 0], atol=1e-9)
    np.testing.assert_allclose(information, 2 * np.eye(6))
    knows_x, knows_y = (np.diag([1.0, 1, 1, 1, 1, 1]) * 1e-9 for _ in range(2))
    knows_x[0, 0] = knows_y[1, 1] = 1.0
    fused, _ = fuse(a, knows_x, b, knows_y)
    np.testing.assert_allclose(fused[:3, 3], [0, 0.4, 0], atol=1e-6)


def test_the_two_orders_are_each_others_inverse() -> None:
    """Translation first and rotation first, back and forth."""
    matrix = np.arange(36.0).reshape(6, 6)
    np.testing.assert_array_equal(swap_order(swap_order(matrix)), matrix)
    assert swap_order(matrix)[0, 0] == matrix[3, 3]


def test_exact_edges_stay_and_noisy_ones_improve() -> None:
    """From disturbed poses the optimisation returns to the truth, component by component."""
    rng = np.random.default_rng(0)
    truth = random_poses(rng, 7)
    i, j = np.array([0, 1, 2, 0, 4, 5, 4]), np.array([1, 2, 3, 3, 5, 6, 6])
    edges = edges_of(i, j, relative(truth, i, j), np.full(7, 90))
    edges = replace(edges, verdict=np.full(7, Verdict.KEPT, object))
    component = components(7, i, j)
    start = truth @ noise(rng, 7, 0.05, 0.05)
    start[[0, 4]] = truth[[0, 4]]
    poses, covariances = optimize_poses(start, component, edges)
    np.testing.assert_allclose(poses, truth, atol=1e-5)
    assert np.diagonal(covariances[0]).max() < 1e-9
    assert np.linalg.eigvalsh(covariances[1:4]).min() > 0


def test_covariances_grow_along_a_chain_as_the_adjoint_says() -> None:
    """Two steps: Ad(T_12)^-1 C_1 Ad(T_12)^-T + C_12, translation before rotation."""
    rng = np.random.default_rng(1)
    truth = random_poses(rng, 3)
    i, j = np.array([0, 1]), np.array([1, 2])
    sigmas = np.array([0.01, 0.02, 0.03, 0.001, 0.002, 0.003])
    edges = edges_of(i, j, relative(truth, i, j), np.full(2, 90))
    edges = replace(
        edges, verdict=np.full(2, Verdict.KEPT, object),
        information=np.tile(np.diag(sigmas**-2), (2, 1, 1)),
    )
    _, covariances = optimize_poses(truth, components(3, i, j), edges)
    np.testing.assert_allclose(covariances[1], np.diag(sigmas**2), rtol=1e-3, atol=1e-10)
    adjoint = swap_order(gtsam.Pose3(relative(truth, i, j)[1]).inverse().AdjointMap())
    expected = adjoint @ covariances[1] @ adjoint.T + np.diag(sigmas**2)
    np.testing.assert_allclose(covariances[2], expected, rtol=1e-3, atol=1e-10)


def test_a_pruned_edge_has_no_say() -> None:
    """Only kept edges and bridges pull on the poses."""
    rng = np.random.default_rng(2)
    truth = random_poses(rng, 3)
    i, j = np.array([0, 1, 0]), np.array([1, 2, 2])
    T_i_j = relative(truth, i, j)
    T_i_j[2] = random_poses(rng, 2)[1]
    edges = edges_of(i, j, T_i_j, np.full(3, 90))
    edges = replace(
        edges, verdict=np.array([Verdict.KEPT, Verdict.BRIDGE, Verdict.PRUNED], object)
    )
    poses, _ = optimize_poses(truth, components(3, i, j), edges)
    np.testing.assert_allclose(poses, truth, atol=1e-6)
    angle = Rotation.from_matrix(poses[1, :3, :3]).magnitude()
    assert angle == pytest.approx(Rotation.from_matrix(truth[1, :3, :3]).magnitude())
