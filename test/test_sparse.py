# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution against dense convolution, a dictionary twin and finite differences."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mvreg_ros.sparse.engine import open_engine, SparseEngine
from mvreg_ros.sparse.torch_engine import FEW_CHANNELS
import numpy as np
import pytest
from sparse_inputs import inputs, random_voxels, STRIDES
import torch
from torch import Tensor
from torch.nn import functional

# Small and signed, so that voxels meet across bricks and across the origin.
VOXELS = arrays(np.int64, st.tuples(st.integers(0, 60), st.just(4)), elements=st.integers(-9, 9))


def offsets(size: int) -> list[tuple[int, int, int]]:
    """Return the offsets of a kernel in the order of its rows, x fastest."""
    axis = range(-(size // 2), size // 2 + 1) if size % 2 else range(size)
    return [(x, y, z) for z, y, x in product(axis, repeat=3)]


def twin(
    engine: SparseEngine, features: Tensor, kernel: Tensor, stride_in: int, stride_out: int
) -> Tensor:
    """Return the convolution by looking every neighbour up in a dictionary."""
    rows = {tuple(voxel): k for k, voxel in enumerate(engine.coordinates(stride_in).tolist())}
    step = min(stride_in, stride_out) * (-1 if stride_out < stride_in else 1)
    out = []
    for batch, *xyz in engine.coordinates(stride_out).tolist():
        total = features.new_zeros(kernel.shape[2])
        for weight, o in zip(kernel, offsets(round(len(kernel) ** (1 / 3))), strict=True):
            neighbor = (batch, *(c + step * k for c, k in zip(xyz, o, strict=True)))
            if neighbor in rows:
                total = total + features[rows[neighbor]] @ weight
        out.append(total)
    return torch.stack(out) if out else features.new_zeros(0, kernel.shape[2])


@pytest.mark.parametrize('channels', [(1, 3), (6, 5)])
@pytest.mark.parametrize('size', [3, 5, 7])
@pytest.mark.parametrize('corner', [0, -18])
def test_full_grids_are_dense_convolution(
    channels: tuple[int, int], size: int, corner: int
) -> None:
    """Two clouds that fill a cube: conv3d with stride 1 and 2, and conv_transpose3d, to 1e-5."""
    edge = 10
    voxels = torch.cartesian_prod(*[torch.arange(n) for n in (2, edge, edge, edge)])
    voxels[:, 1:] += corner
    engine = open_engine('torch', voxels)
    x, kernel = inputs(engine, size, channels, 1, torch.float32)
    # The rows of a kernel run over z, y, x; a dense one over x, y, z as the cubes below.
    weight = kernel.view(size, size, size, *channels).permute(4, 3, 2, 1, 0)

    def cube(rows: Tensor, n: int) -> Tensor:
        return rows.view(2, n, n, n, -1).permute(0, 4, 1, 2, 3)

    def ordered(rows: Tensor, stride: int) -> Tensor:
        at = engine.coordinates(stride)
        return rows[np.lexsort(at.flip(1).T.numpy())]

    for stride in (1, 2):
        expected = functional.conv3d(cube(x, edge), weight, stride=stride, padding=size // 2)
        out = ordered(engine.convolve(x, kernel, 1, stride), stride)
        torch.testing.assert_close(cube(out, edge // stride), expected, atol=1e-5, rtol=1e-5)

    coarse, kernel = inputs(engine, size, channels, 2, torch.float32)
    weight = kernel.view(size, size, size, *channels).permute(3, 4, 2, 1, 0)
    expected = functional.conv_transpose3d(
        cube(ordered(coarse, 2), edge // 2), weight, stride=2, padding=size // 2,
        output_padding=1)
    out = engine.convolve(coarse, kernel, 2, 1)
    torch.testing.assert_close(cube(out, edge), expected, atol=1e-5, rtol=1e-5)


@given(VOXELS, st.sampled_from([2, 3, 4, 5]), st.sampled_from([(1, 2), (5, 3)]),
       st.sampled_from(STRIDES))
@settings(max_examples=60)
def test_convolution_is_that_of_a_dictionary(
    voxels: np.ndarray, size: int, channels: tuple[int, int], strides: tuple[int, int]
) -> None:
    """Any voxels of any sign, several clouds, even and odd kernels, up and down."""
    voxels[:, 0] = abs(voxels[:, 0])
    engine = open_engine('torch', torch.unique(torch.from_numpy(voxels), dim=0))
    features, kernel = inputs(engine, size, channels, strides[0])
    out = engine.convolve(features, kernel, *strides)
    torch.testing.assert_close(out, twin(engine, features, kernel, *strides))


@pytest.mark.parametrize('strides', STRIDES[:4])
@pytest.mark.parametrize('size', [2, 3])
@pytest.mark.parametrize('channels', [(1, 2), (5, 2)])
def test_gradients_are_those_of_finite_differences(
    channels: tuple[int, int], size: int, strides: tuple[int, int]
) -> None:
    """Of features and kernel in float64; also where the features need none."""
    engine = open_engine('torch', random_voxels(1, 25, 3))
    features, kernel = inputs(engine, size, channels, strides[0])

    def convolve(features: Tensor, kernel: Tensor) -> Tensor:
        return engine.convolve(features, kernel, *strides)

    kernel.requires_grad_()
    assert torch.autograd.gradcheck(convolve, (features, kernel))
    assert torch.autograd.gradcheck(convolve, (features.requires_grad_(), kernel))


def test_a_second_derivative_is_refused() -> None:
    """The gradient is not differentiable, and says so instead of being zero."""
    engine = open_engine('torch', random_voxels(2, 20, 3))
    features, kernel = inputs(engine, 3, (5, 2), 1)
    out = engine.convolve(features.requires_grad_(), kernel, 1, 1)
    gradient, = torch.autograd.grad(out.square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        gradient.sum().backward()


@pytest.mark.parametrize('channels', [(1, 2), (5, 3)])
def test_nothing_and_voxels_alone(channels: tuple[int, int]) -> None:
    """No voxels give no rows; a voxel without neighbours meets only the centre of a kernel."""
    engine = open_engine('torch', torch.zeros(0, 4, dtype=torch.int64))
    for strides in STRIDES:
        features, kernel = inputs(engine, 3, channels, strides[0])
        out = engine.convolve(features, kernel.requires_grad_(), *strides)
        assert out.shape == (0, channels[1])
        out.sum().backward()
        assert not kernel.grad.any()
        kernel.grad = None

    engine = open_engine('torch', torch.tensor([[0, 5, 0, 0], [1, 5, 0, 1], [0, -5, 0, 0]]))
    features, kernel = inputs(engine, 3, channels, 1)
    torch.testing.assert_close(engine.convolve(features, kernel, 1, 1), features @ kernel[13])


def test_the_largest_few_channels_are_copied_and_one_more_are_paired() -> None:
    """Both ways give the same where they meet."""
    engine = open_engine('torch', random_voxels(9, 200))
    features, kernel = inputs(engine, 3, (FEW_CHANNELS, 3), 1)
    copied = engine.convolve(features, kernel, 1, 1)
    paired = engine.convolve(functional.pad(features, (0, 1)),
                             functional.pad(kernel, (0, 0, 0, 1)), 1, 1)
    torch.testing.assert_close(copied, paired)
