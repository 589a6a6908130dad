# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weighted Procrustes: the motion, where there is none, and the gradient of both."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
import numpy as np
import pytest
from random_motion import random_pose, transform
from scipy.spatial.transform import Rotation
import torch

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(3, 40))
def test_procrustes_finds_the_exact_motion(seed: int, count: int) -> None:
    """Exact correspondences with any positive weights give the motion back (Eq. 22-27)."""
    rng = np.random.default_rng(seed)
    T = random_pose(rng)
    source = torch.from_numpy(rng.normal(size=(count, 3)))
    weights = torch.from_numpy(rng.uniform(0.1, 1, count))
    found, valid = weighted_procrustes(source, transform(T, source), weights)
    assert bool(valid)
    torch.testing.assert_close(found, T, atol=1e-6, rtol=0)


def test_procrustes_is_the_minimum_of_the_weighted_squares() -> None:
    """No small motion away from the solution lowers Eq. 4, and doubling a weight repeats a row."""
    rng = np.random.default_rng(3)
    source, target = torch.from_numpy(rng.normal(size=(2, 12, 3)))
    weights = torch.ones(12, dtype=torch.float64)
    weights[4] = 2
    T, _ = weighted_procrustes(source, target, weights)
    rows = [*range(12), 4]
    repeated, _ = weighted_procrustes(source[rows], target[rows], weights.new_ones(13))
    torch.testing.assert_close(T, repeated)

    def cost(T: torch.Tensor) -> float:
        return float((weights * residuals(T, source, target).square()).sum())

    for _ in range(50):
        step = torch.eye(4, dtype=torch.float64)
        step[:3, :3] = torch.from_numpy(
            Rotation.from_rotvec(rng.normal(0, 0.01, 3)).as_matrix()
        )
        step[:3, 3] = torch.from_numpy(rng.normal(0, 0.01, 3))
        assert cost(T @ step) >= cost(T)


def test_procrustes_never_reflects() -> None:
    """Mirrored points get the best rotation, determinant +1 (Eq. 26)."""
    source = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)))
    mirrored = source * torch.tensor([1.0, 1, -1])
    T, valid = weighted_procrustes(source, mirrored, torch.ones(20, dtype=torch.float64))
    assert bool(valid)
    assert abs(float(torch.linalg.det(T[:3, :3])) - 1) < 1e-9


def test_points_in_a_plane_are_enough_and_points_on_a_line_are_not() -> None:
    """A plane fixes the rotation; a line, two points or no weight give the identity and False."""
    rng = np.random.default_rng(1)
    T = random_pose(rng)
    plane = torch.from_numpy(rng.normal(size=(9, 3)) * [1, 1, 0])
    ones = torch.ones(9, dtype=torch.float64)
    found, valid = weighted_procrustes(plane, transform(T, plane), ones)
    assert bool(valid)
    torch.testing.assert_close(found, T)
    line = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2, 3])
    two = ones * (torch.arange(9) < 2)
    for source, weights in ((line, ones), (plane, two), (plane, 0 * ones)):
        found, valid = weighted_procrustes(source, transform(T, source), weights)
        assert not bool(valid)
        assert torch.equal(found, torch.eye(4, dtype=torch.float64))


def test_batched_procrustes_with_padding_equals_one_by_one() -> None:
    """Rows of weight zero change nothing, whatever they hold."""
    rng = np.random.default_rng(2)
    counts = (5, 17, 3)
    source, target = torch.from_numpy(rng.normal(size=(2, 3, 17, 3)))
    weights = torch.from_numpy(rng.uniform(0.2, 1, (3, 17)))
    weights *= torch.arange(17) < torch.tensor(counts)[:, None]
    batch, valid = weighted_procrustes(source, target, weights)
    assert valid.all()
    for k, n in enumerate(counts):
        single, _ = weighted_procrustes(source[k, :n], target[k, :n], weights[k, :n])
        torch.testing.assert_close(batch[k], single)


def known_gradient(shape: torch.Size) -> torch.Tensor:
    """Return numbers that differ, to multiply a result with before it is summed."""
    return torch.linspace(-1, 2, shape.numel(), dtype=torch.float64).view(shape)


@pytest.mark.parametrize('scale', [[1, 1, 1], [1, 1, 0], [1, 0.7, -0.4]],
                         ids=['random', 'planar', 'reflected'])
def test_the_gradient_of_procrustes_is_that_of_finite_differences(scale: list[float]) -> None:
    """In source, target and weights, a padded row among them; float32 comes close."""
    rng = np.random.default_rng(7)
    points = rng.normal(size=(2, 8, 3))
    source = torch.from_numpy(points * np.abs(scale))
    mirrored = torch.from_numpy(points * scale + 0.02 * rng.normal(size=points.shape))
    target = transform(random_pose(rng), mirrored)
    weights = torch.from_numpy(rng.uniform(0.2, 1, (2, 8)))
    inputs = [x.requires_grad_() for x in (source, target, weights)]

    def pose(source: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        keep = torch.arange(8) != 3
        T, valid = weighted_procrustes(source, target, weights * keep)
        assert valid.all()
        return T

    assert torch.autograd.gradcheck(pose, inputs)
    total = (pose(*inputs) * known_gradient(torch.Size([2, 4, 4]))).sum()
    expected = torch.autograd.grad(total, inputs)
    single = [x.detach().float().requires_grad_() for x in inputs]
    total = (pose(*single) * known_gradient(torch.Size([2, 4, 4]))).sum()
    for found, exact in zip(torch.autograd.grad(total, single), expected, strict=True):
        torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_pairs_without_a_pose_have_no_gradient(dtype: torch.dtype) -> None:
    """A line, a point, two weights and none at all: zeros, and the good pair's are its own."""
    rng = np.random.default_rng(8)
    source, target = torch.from_numpy(rng.normal(size=(2, 5, 9, 3))).to(dtype)
    weights = torch.from_numpy(rng.uniform(0.2, 1, (5, 9))).to(dtype)
    # Exact in float32 as well, so that the rounding makes no plane of it.
    source[1] = torch.arange(9)[:, None] * torch.tensor([1, 0, 0])
    source[2] = source[2, 0]
    weights[1] = 1
    weights[3, 2:] = 0
    weights[4] = 0

    def gradients(rows: list[int]) -> tuple[torch.Tensor, ...]:
        inputs = [x[rows].requires_grad_() for x in (source, target, weights)]
        T, valid = weighted_procrustes(*inputs)
        assert valid.tolist() == [row == 0 for row in rows]
        error = residuals(T, inputs[0], inputs[1])
        total = (T * known_gradient(torch.Size([4, 4]))).sum() + (error * valid[:, None]).sum()
        return torch.autograd.grad(total, inputs)

    for batch, alone in zip(gradients([0, 1, 2, 3, 4]), gradients([0]), strict=True):
        assert not batch[1:].any()
        torch.testing.assert_close(batch[:1], alone)
        assert alone.any()


def test_residuals_of_zero_have_a_finite_gradient() -> None:
    """Exact correspondences: the distance has no derivative there, 0 is taken."""
    T = torch.eye(4, dtype=torch.float64).requires_grad_()
    points = torch.ones(5, 3, dtype=torch.float64)
    residuals(T, points, points).sum().backward()
    assert not T.grad.any()
