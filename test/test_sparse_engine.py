# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The torch engine: its levels, what it refuses, its memory and threads; and the layers on it."""

from __future__ import annotations

from itertools import product
import sys

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mvreg_ros.native import dispatch
from mvreg_ros.parallel import ordered_map
from mvreg_ros.sparse import bricks, convolution, kernel_map
from mvreg_ros.sparse.coordinates import MAX_BATCHES, MAX_COORDINATE, pack, sorted_keys, unpack
from mvreg_ros.sparse.engine import open_engine
from mvreg_ros.sparse.layers import BatchNorm, Convolution
from mvreg_ros.types import InputError
import numpy as np
import pytest
from sparse_inputs import inputs, random_voxels, STRIDES
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@pytest.mark.parametrize('limit', [1, 5])
def test_small_blocks_change_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few bricks, pairs and cells are looked at together, the sums are the same."""
    voxels = random_voxels(0, 150, 12)
    whole = open_engine('torch', voxels)
    monkeypatch.setattr(bricks, 'MAX_BRICKS', limit)
    monkeypatch.setattr(kernel_map, 'MAX_PAIRS', 27 * limit)
    monkeypatch.setattr(convolution, 'MAX_CELLS', 27 * limit)
    for channels, strides in product([(1, 2), (5, 3)], STRIDES):
        results = []
        for engine in (whole, open_engine('torch', voxels)):
            features, kernel = inputs(engine, 3, channels, strides[0])
            kernel.requires_grad_()
            features.requires_grad_(channels[0] > 1)
            out = engine.convolve(features, kernel, *strides)
            out.square().sum().backward()
            results.append((out, kernel.grad, features.grad))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other)


def test_levels_are_floored_coordinates() -> None:
    """Stride 1 comes as given; stride s is every floor(c / s) s, once, below zero as well."""
    voxels = random_voxels(3, 300)
    engine = open_engine('torch', voxels.int())
    assert engine.coordinates(1).dtype == torch.int64
    assert engine.coordinates(1).tolist() == voxels.tolist()
    for stride in (2, 4, 8, 64):
        expected = {(b, *(c // stride * stride for c in xyz)) for b, *xyz in voxels.tolist()}
        found = engine.coordinates(stride)
        assert len(found) == len(expected)
        assert {tuple(voxel) for voxel in found.tolist()} == expected


def test_the_order_of_the_voxels_does_not_matter() -> None:
    """Rows follow their voxels, bit for bit, however the voxels are ordered."""
    voxels = random_voxels(4, 400)
    features = torch.randn(len(voxels), 6, generator=torch.Generator().manual_seed(0))
    kernel = torch.randn(27, 6, 6, generator=torch.Generator().manual_seed(1))
    _, rows = sorted_keys(voxels)

    def run(voxels: Tensor, features: Tensor) -> Tensor:
        engine = open_engine('torch', voxels)
        fine = engine.convolve(features, kernel, 1, 1)
        return engine.convolve(engine.convolve(fine, kernel, 1, 2), kernel, 2, 1)

    assert torch.equal(run(voxels, features)[rows], run(voxels[rows], features[rows]))


def test_moving_the_clouds_by_the_stride_changes_nothing() -> None:
    """Near the limit of the coordinates the neighbours are the same."""
    voxels = random_voxels(5, 200)
    results = []
    for shift in (0, MAX_COORDINATE - 16, 16 - MAX_COORDINATE):
        moved = voxels + torch.tensor([0, shift, -shift, shift])
        moved[:, 0] *= MAX_BATCHES - 1
        engine = open_engine('torch', moved)
        features, kernel = inputs(engine, 5, (5, 2), 1)
        results.append(engine.convolve(features, kernel, 1, 8))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@given(arrays(np.int64, st.tuples(st.integers(1, 20), st.just(4)),
              elements=st.integers(1 - MAX_COORDINATE, MAX_COORDINATE - 1)))
def test_keys_hold_the_coordinates(voxels: np.ndarray) -> None:
    """Packed and unpacked again, of cubes the least voxel; all below 2^63."""
    coordinates = torch.from_numpy(voxels)
    coordinates[:, 0] %= MAX_BATCHES
    keys = pack(coordinates)
    assert bool((keys >= 0).all())
    for shift in (0, 1, 5):
        cube = coordinates.clone()
        cube[:, 1:] = cube[:, 1:] >> shift << shift
        assert unpack(keys >> 3 * shift, shift).tolist() == cube.tolist()


def test_threads_do_not_disturb_one_another() -> None:
    """Clouds convolved on four threads at once give what they give alone, bit for bit."""
    clouds = [random_voxels(seed, 600) for seed in range(12)]

    def run(voxels: Tensor) -> Tensor:
        engine = open_engine('torch', voxels)
        features, kernel = inputs(engine, 3, (5, 7), 1)
        out = engine.convolve(features.requires_grad_(), kernel, 1, 2)
        gradient, = torch.autograd.grad(out.square().sum(), features)
        return gradient

    alone = [run(voxels) for voxels in clouds]
    for one, other in zip(alone, ordered_map(run, clouds, 4), strict=True):
        assert torch.equal(one, other)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operator returns."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operator."""
        out = func(*args, **kwargs or {})
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


@pytest.mark.parametrize('native', [False, True])
@pytest.mark.parametrize(('size', 'channels'), [(7, (1, 32)), (7, (8, 8)), (3, (64, 32))])
def test_memory_does_not_grow_with_the_kernel(
    size: int, channels: tuple[int, int], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tensor, forward or backward, is larger than features, scratch or bricks may be."""
    if not native:
        monkeypatch.setattr(dispatch, 'serves', lambda *tensors, dtype=None: False)
    sheet = torch.cartesian_prod(*[torch.arange(n) for n in (1, 64, 64, 1)])
    engine = open_engine('torch', torch.cat([sheet, sheet + torch.tensor([0, 0, 0, 2])]))
    features, kernel = inputs(engine, size, channels, 1, torch.float32)
    features.requires_grad_(channels[0] > 1)
    with Largest() as largest:
        engine.convolve(features, kernel.requires_grad_(), 1, 1).sum().backward()
    cells = 8 * 8 * (bricks.SIDE + size - 1) ** 3
    assert largest.numel <= max(
        features.numel(), len(features) * channels[1], cells, convolution.MAX_CELLS,
        kernel_map.MAX_PAIRS * max(channels))
    assert largest.numel < len(features) * size**3 * channels[0]


@pytest.mark.parametrize(('voxels', 'message'), [
    ([[0, 1, 2, 3], [0, 1, 2, 3]], 'twice'),
    ([[0, MAX_COORDINATE, 0, 0]], 'within 65536'),
    ([[0, 0, -MAX_COORDINATE, 0]], 'centre the cloud'),
    ([[-1, 0, 0, 0]], 'numbered from 0'),
    ([[MAX_BATCHES, 0, 0, 0]], '512 clouds'),
    ([[0, 0, 0]], r'\(N, 4\)'),
    ([[0.0, 0.5, 0.0, 0.0]], 'float32'),
])
def test_voxels_that_cannot_be_packed_are_refused(voxels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_engine('torch', torch.tensor(voxels))


def test_convolutions_that_do_not_fit_are_refused() -> None:
    """Wrong strides, kernels and features are named."""
    engine = open_engine('torch', random_voxels(6, 30))
    features, kernel = inputs(engine, 3, (5, 2), 1)
    with pytest.raises(InputError, match='powers of two'):
        engine.convolve(features, kernel, 1, 3)
    with pytest.raises(InputError, match=r'\(20, 5, 2\)'):
        engine.convolve(features, kernel[:20], 1, 1)
    with pytest.raises(InputError, match='K up to 8'):
        engine.convolve(features, kernel.new_zeros(9**3, 5, 2), 1, 1)
    with pytest.raises(InputError, match=f'for {len(features)} voxels of stride 1'):
        engine.convolve(features[1:], kernel, 1, 1)
    with pytest.raises(InputError, match='torch, minkowski'):
        open_engine('cuda', engine.coordinates(1))


@pytest.mark.parametrize('native', [True, False])
@pytest.mark.parametrize('shape', [(7,), (1,), (5, 1), ()])
@pytest.mark.parametrize('channels', [2, 5])
def test_features_of_other_channels_than_the_kernel_are_refused(
    native: bool, shape: tuple[int, ...], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything reads beyond them, by whichever way."""
    if not native:
        monkeypatch.setattr(dispatch, 'serves', lambda *tensors, dtype=None: False)
    engine = open_engine('torch', random_voxels(6, 30))
    _, kernel = inputs(engine, 3, (channels, 2), 1, torch.float32)
    features = torch.ones(len(engine.coordinates(1)), *shape)
    with pytest.raises(InputError, match=f'and a kernel of {channels} channels'):
        engine.convolve(features, kernel, 1, 1)


def test_a_missing_minkowski_engine_is_said_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is named, and the command that builds it."""
    monkeypatch.setitem(sys.modules, 'MinkowskiEngine', None)
    with pytest.raises(InputError, match='make minkowski'):
        open_engine('minkowski', torch.zeros(1, 4, dtype=torch.int64))


def test_layers_have_the_names_and_shapes_of_minkowski_engine() -> None:
    """A kernel of size 1 is a matrix; the bias is a row; normalisation is called bn."""
    assert {name: tuple(p.shape) for name, p in Convolution(4, 6).named_parameters()} == {
        'kernel': (27, 4, 6)}
    pointwise = Convolution(4, 6, 1, bias=True)
    assert {name: tuple(p.shape) for name, p in pointwise.named_parameters()} == {
        'kernel': (4, 6), 'bias': (1, 6)}
    assert set(BatchNorm(6).state_dict()) == {
        f'bn.{name}' for name in ('weight', 'bias', 'running_mean', 'running_var',
                                  'num_batches_tracked')}

    engine = open_engine('torch', random_voxels(7, 50))
    features = torch.randn(len(engine.coordinates(1)), 4)
    torch.testing.assert_close(
        pointwise(features, engine), features @ pointwise.kernel + pointwise.bias)
    down = Convolution(4, 6, 3, 1, 2, bias=True)
    torch.testing.assert_close(
        down(features, engine), engine.convolve(features, down.kernel, 1, 2) + down.bias)
    assert down.kernel.abs().max() <= (27 * 4) ** -0.5


def test_layers_work_in_half_precision() -> None:
    """Features that come in half precision leave in it; the parameters stay as they are."""
    engine = open_engine('torch', random_voxels(8, 100))
    layer = Convolution(6, 8)
    features = torch.randn(len(engine.coordinates(1)), 6)
    exact = layer(features, engine)
    half = layer(features.bfloat16(), engine)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.05, rtol=0.05)
    half.float().sum().backward()
    assert layer.kernel.grad.dtype == torch.float32


def test_nonzero_is_that_of_torch() -> None:
    """The way of the CPU gives what the way of other devices gives."""
    mask = torch.rand(1000, generator=torch.Generator().manual_seed(0)) < 0.3
    assert torch.equal(kernel_map.nonzero(mask), mask.nonzero().view(-1))
