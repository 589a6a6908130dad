# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The torch engine against MinkowskiEngine: arrays it made once, and itself where it is built."""

from __future__ import annotations

import minkowski_golden as golden
from mvreg_ros.features.fcgf import FcgfConfig, ResUNetBN2C
from mvreg_ros.sparse.engine import open_engine, SparseEngine
from mvreg_ros.types import InputError
import numpy as np
import pytest
import torch
from torch import Tensor

CURE = 'MinkowskiEngine is optional: build it with `make minkowski` to compare with it'
STRIDES = [(1, 1), (1, 2), (2, 4), (4, 2), (2, 1)]


def load(name: str) -> dict[str, Tensor]:
    """Return the arrays of a file of golden values, without running what it may hold."""
    with np.load(golden.FOLDER / f'minkowski_{name}.npz', allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if key != 'version'}


def rows_of(voxels: Tensor, wanted: Tensor) -> Tensor:
    """Return the rows that `wanted` voxels (N, 4) have among `voxels`, in any order."""
    rows = {tuple(voxel): k for k, voxel in enumerate(voxels.tolist())}
    assert len(rows) == len(voxels) == len(wanted)
    return torch.tensor([rows[tuple(voxel)] for voxel in wanted.tolist()])


@pytest.mark.parametrize('name', golden.LAYERS)
def test_layers_are_those_of_minkowski_engine(name: str) -> None:
    """To the last bit, because these values add up without rounding; both ways of the engine."""
    arrays = load('layers')
    _, _, _, stride_in, stride_out = golden.LAYERS[name]
    engine = open_engine('torch', arrays['coordinates'])
    voxels = {1: arrays['coordinates'], 2: arrays['coordinates_2'], 4: arrays['coordinates_4']}
    for stride, known in voxels.items():
        assert set(map(tuple, engine.coordinates(stride).tolist())) == set(
            map(tuple, known.tolist()))
    features = arrays[f'{name}.features'][rows_of(
        voxels[stride_in], engine.coordinates(stride_in))]
    expected = arrays[f'{name}.out'][rows_of(voxels[stride_out], engine.coordinates(stride_out))]
    for through_pairs in (False, True):
        out = engine.convolve(
            features.requires_grad_(through_pairs), arrays[f'{name}.kernel'], stride_in,
            stride_out)
        assert torch.equal(out, expected)


def test_the_network_is_that_on_minkowski_engine() -> None:
    """A tiny ResUNetBN2C with the weights in the file; both compute in float64."""
    arrays = load('network')
    coordinates, expected = arrays.pop('coordinates'), arrays.pop('out')
    network = ResUNetBN2C(golden.TINY).eval()
    network.load_state_dict(arrays)
    ones = torch.ones(len(coordinates), 1, dtype=torch.float64)
    with torch.no_grad():
        out = network.double()(ones, open_engine('torch', coordinates))
    torch.testing.assert_close(out.float(), expected, atol=1e-6, rtol=0)


@pytest.fixture(scope='module')
def engines() -> tuple[SparseEngine, SparseEngine]:
    """Return both engines on two real fragments as one batch; skip where one is not built."""
    pytest.importorskip('MinkowskiEngine', reason=CURE)
    voxels = torch.cat([golden.fragment_voxels(0), golden.fragment_voxels(1, 1)])
    return open_engine('torch', voxels), open_engine('minkowski', voxels)


def both(
    engines: tuple[SparseEngine, SparseEngine], strides: tuple[int, int], size: int,
    channels: tuple[int, int],
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return output and gradients of features and kernel, rows in the order of the first."""
    ours, theirs = engines
    stride_in, stride_out = strides
    rows_in, rows_out = (
        rows_of(theirs.coordinates(s), ours.coordinates(s)) for s in (stride_in, stride_out))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(rows_in), channels[0], generator=generator, dtype=torch.float64)
    kernel = torch.randn(size**3, *channels, generator=generator, dtype=torch.float64)
    weight = torch.randn(len(rows_out), channels[1], generator=generator, dtype=torch.float64)
    results = []
    for engine in engines:
        x, w = features.clone().requires_grad_(), kernel.clone().requires_grad_()
        if engine is ours:
            out = engine.convolve(x, w, *strides)
        else:
            permuted = torch.empty_like(x).index_copy(0, rows_in, x)
            out = engine.convolve(permuted, w, *strides)[rows_out]
        gradients = torch.autograd.grad((out * weight).sum(), (x, w))
        results.append((out.detach(), *gradients))
    return results


@pytest.mark.parametrize('strides', STRIDES)
@pytest.mark.parametrize('size', [2, 3, 5])
def test_real_fragments_give_the_same(
    engines: tuple[SparseEngine, SparseEngine], strides: tuple[int, int], size: int
) -> None:
    """Values and gradients in float64, even and odd kernels, down and up."""
    for ours, theirs in zip(*both(engines, strides, size, (5, 6)), strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_fcgf_gives_the_same_on_a_real_fragment(
    engines: tuple[SparseEngine, SparseEngine],
) -> None:
    """The published sizes with random weights; descriptors of unit length."""
    torch.manual_seed(0)
    network = ResUNetBN2C(FcgfConfig()).eval()
    ours, theirs = engines
    ones = torch.ones(len(ours.coordinates(1)), 1)
    torch.testing.assert_close(network(ones, ours), network(ones, theirs), atol=2e-6, rtol=0)


def test_rows_of_minkowski_engine_follow_the_voxels(
    engines: tuple[SparseEngine, SparseEngine],
) -> None:
    """Stride 1 comes in the order given."""
    ours, theirs = engines
    assert torch.equal(ours.coordinates(1), theirs.coordinates(1))
    features = torch.randn(len(ours.coordinates(1)), 3)
    centre = torch.zeros(27, 3, 3)
    centre[13] = torch.eye(3)
    assert torch.equal(theirs.convolve(features, centre, 1, 1), features)


def test_voxels_that_are_there_twice_are_refused() -> None:
    """The library itself would drop one of them."""
    pytest.importorskip('MinkowskiEngine', reason=CURE)
    with pytest.raises(InputError, match='twice'):
        open_engine('minkowski', torch.zeros(2, 4, dtype=torch.int64))


def test_the_golden_values_are_what_minkowski_engine_gives() -> None:
    """The files are those that the command in minkowski_golden.py writes."""
    pytest.importorskip('MinkowskiEngine', reason=CURE)
    for name, made in (('layers', golden.make_layers(golden.corner())),
                       ('network', golden.make_network(golden.corner()))):
        known = load(name)
        assert set(known) == set(made) - {'version'}
        for key, values in known.items():
            torch.testing.assert_close(torch.from_numpy(made[key]), values, atol=1e-6, rtol=0)
