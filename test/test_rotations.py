# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The projection to rotations: the nearest one, and its gradient by finite differences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mvreg_ros.rotations import nearest_rotation, project_to_rotation
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import torch
from torch import Tensor

RNG = np.random.default_rng(0)
EYE = torch.eye(3, dtype=torch.float64)
TURN = torch.from_numpy(Rotation.random(random_state=1).as_matrix())
OTHER = torch.from_numpy(Rotation.random(random_state=2).as_matrix())
DEGENERATE = {
    'zero': 0 * EYE,
    'rank one': TURN[:, :1] @ OTHER[:1],
    'rank two': TURN @ torch.diag(torch.tensor([2.0, 1, 0]).double()) @ OTHER,
    'rank two, twice the same': TURN[:, :2] @ OTHER[:2],
    'point reflection': -TURN,
    'tiny': 1e-300 * TURN,
}


@given(arrays(np.float64, (3, 3), elements=st.floats(-1e6, 1e6)))
def test_any_matrix_has_a_nearest_rotation_and_a_finite_gradient(matrix: np.ndarray) -> None:
    """Orthonormal, determinant 1, no rotation of many is nearer, no gradient is infinite."""
    M = torch.from_numpy(matrix).requires_grad_()
    R = nearest_rotation(M)
    torch.testing.assert_close(R.T @ R, EYE)
    torch.testing.assert_close(torch.linalg.det(R), EYE[0, 0])
    others = torch.from_numpy(Rotation.random(50, random_state=0).as_matrix())
    distance = (others - M).norm(dim=(1, 2)).min()
    assert (R - M).norm() <= distance * (1 + 1e-9)
    (R * torch.arange(9.0).view(3, 3)).sum().backward()
    assert torch.isfinite(M.grad).all()


@pytest.mark.parametrize('M', [
    torch.from_numpy(RNG.normal(size=(5, 3, 3))),
    TURN,
    5 * EYE,
    TURN @ torch.diag(torch.tensor([3.0, 3, 1]).double()) @ OTHER,
    TURN @ torch.diag(torch.tensor([3.0, 2, -1]).double()) @ OTHER,
    TURN @ torch.diag(torch.tensor([2.0, 2, -1]).double()) @ OTHER,
    DEGENERATE['rank two'],
    DEGENERATE['rank two, twice the same'],
], ids=[
    'random', 'a rotation', 'scaled identity', 'two equal', 'reflection', 'reflection, two equal',
    'rank two', 'rank two, twice the same',
])
def test_the_gradient_is_that_of_finite_differences(M: Tensor) -> None:
    """Where singular values coincide, too, and U and V have none."""
    assert project_to_rotation(M)[1].all()
    assert torch.autograd.gradcheck(nearest_rotation, M.clone().requires_grad_())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('name', DEGENERATE)
def test_the_gradient_is_finite_where_there_is_none(name: str, dtype: torch.dtype) -> None:
    """Turns about an axis that nothing determines get no gradient; only rank two is unique."""
    M = DEGENERATE[name].to(dtype).requires_grad_()
    R, unique = project_to_rotation(M)
    assert bool(unique) == name.startswith('rank two')
    torch.testing.assert_close(torch.linalg.det(R), torch.ones((), dtype=dtype))
    (R * torch.arange(9.0).view(3, 3).to(dtype)).sum().backward()
    assert torch.isfinite(M.grad).all()
    if name == 'zero':
        assert not M.grad.any()


def test_one_bad_matrix_does_not_spoil_a_batch() -> None:
    """The gradients of the others are what they are alone."""
    good = torch.from_numpy(RNG.normal(size=(2, 3, 3)))
    batch = torch.stack([good[0], 0 * EYE, good[1]]).requires_grad_()
    nearest_rotation(batch)[..., 0].sum().backward()
    alone = good.clone().requires_grad_()
    nearest_rotation(alone)[..., 0].sum().backward()
    torch.testing.assert_close(batch.grad[[0, 2]], alone.grad)
    assert not batch.grad[1].any()
