# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The native kernel against torch alone, operator by operator."""

from __future__ import annotations

from pathlib import Path
import platform

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mvreg_ros.features import cylinders, fpfh, normals
from mvreg_ros.features import native_operators as feature_operators
from mvreg_ros.features.neighbors import radius_neighbors
from mvreg_ros.native import dispatch, library
from mvreg_ros.sparse import kernel_map, native_operators
from mvreg_ros.sparse.engine import open_engine
from native_kernel import require_kernel
import numpy as np
import pytest
from sparse_inputs import inputs, random_voxels, STRIDES
import torch
from torch import Tensor


@pytest.fixture(scope='module', autouse=True)
def kernel() -> None:
    """Say so where there is no kernel to test."""
    require_kernel()


def both(
    voxels: Tensor, size: int, channels: tuple[int, int], strides: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> list[list[Tensor]]:
    """Return result and gradients by the kernel, and by torch, each with its own kernel map."""
    results = []
    for there in (True, False):
        with monkeypatch.context() as patch:
            if not there:
                patch.setattr(dispatch, 'serves', lambda *tensors, dtype=None: False)
            engine = open_engine('torch', voxels)
            x, w = inputs(engine, size, channels, strides[0], torch.float32)
            plain = engine.convolve(x, w, *strides)
            out = engine.convolve(x.requires_grad_(), w.requires_grad_(), *strides)
            weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
            gradients = torch.autograd.grad((out * weight).sum(), (x, w))
        results.append([plain, out.detach(), *gradients])
    return results


def assert_equal_to_scale(one: Tensor, other: Tensor) -> None:
    """Compare to 1e-5 of the largest value."""
    assert one.shape == other.shape
    scale = float(other.abs().max()) if other.numel() else 1.0
    torch.testing.assert_close(one, other, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize('strides', STRIDES)
@pytest.mark.parametrize(('size', 'channels'), [
    (3, (32, 64)), (3, (7, 96)), (3, (64, 3)), (5, (16, 17)), (7, (5, 33)), (2, (40, 16)),
    (7, (1, 32)), (3, (3, 20))])
def test_the_kernel_gives_what_torch_gives(
    size: int, channels: tuple[int, int], strides: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values and gradients to 1e-5 of their scale; up and down; sizes that fit no tile."""
    results = both(random_voxels(0, 1500), size, channels, strides, monkeypatch)
    for one, other in zip(*results, strict=True):
        assert_equal_to_scale(one, other)


@given(arrays(np.int32, st.integers(1, 500), elements=st.integers(-3, 9)), st.data())
def test_the_pairs_are_those_that_torch_finds(cells: np.ndarray, data: st.DataObject) -> None:
    """Whatever the cells hold, and of rows there may be none."""
    places = data.draw(st.lists(st.integers(0, len(cells) - 1)))
    across = data.draw(st.lists(st.integers(-min(places, default=0),
                                            len(cells) - 1 - max(places, default=0)), min_size=1))
    arguments = [torch.tensor(values, dtype=torch.int32) for values in (cells, places, across)]
    found, expected = native_operators.find_pairs(*arguments), kernel_map.find_pairs(*arguments)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert found[2] == expected[2]


@given(st.integers(0, 2**32), st.integers(1, 300), st.floats(0.01, 2.0))
def test_the_neighbors_are_those_that_torch_finds(seed: int, count: int, radius: float) -> None:
    """Of few and of many points, in the same order."""
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    found = radius_neighbors(points[:50], points, radius)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, 'serves', lambda *tensors, dtype=None: False)
        expected = radius_neighbors(points[:50], points, radius)
    assert torch.equal(found.counts, expected.counts)
    assert torch.equal(found.index, expected.index)
    torch.testing.assert_close(found.distance, expected.distance)


@pytest.mark.parametrize('count', [1, 3, 700])
def test_the_moments_are_those_that_torch_sums(count: int) -> None:
    """Points on the axis and outside of all bins too, and a query without a neighbour."""
    generator = torch.Generator().manual_seed(count)
    points = torch.rand(count, 3, generator=generator)
    facing = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    queries = torch.cat([points, points[:1] + 9])
    frames = cylinders.tangent_frames(torch.cat([facing, facing[:1]]))
    near = radius_neighbors(queries, points, 0.4)
    arguments = queries, frames, near, torch.cat([points, facing], 1), 0.4
    found = feature_operators.cylinder_moments(*arguments, (cylinders.BINS, cylinders.CHANNELS))
    assert_equal_to_scale(found, cylinders.cylinder_moments(*arguments))


@pytest.mark.parametrize('count', [1, 3, 700])
def test_the_covariances_are_those_that_torch_sums(count: int) -> None:
    """Far from the origin too, and of a query without a neighbour."""
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(count)) + 100
    queries = torch.cat([points, points[:1] + 9])
    near = radius_neighbors(queries, points, 0.4)
    assert_equal_to_scale(
        feature_operators.covariances(queries, points, near),
        normals.covariances(queries, points, near))


@pytest.mark.parametrize('count', [1, 3, 700])
def test_the_histograms_are_those_that_torch_counts(count: int) -> None:
    """Of points alone and of many; angles at the border of two bins may change sides."""
    generator = torch.Generator().manual_seed(count)
    points = torch.rand(count, 3, generator=generator)
    facing = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    radii = 0.1, 0.2, 0.4
    near, edges = radius_neighbors(points, points, radii[-1]), torch.tensor(radii)
    simple = fpfh.simplified_histograms(points, facing, near, radii)
    found = feature_operators.simplified_histograms(
        torch.cat([points, facing], 1), near, edges, fpfh.WIDTH)
    assert ((found - simple).abs() > 1e-4).float().mean() < 1e-3
    assert_equal_to_scale(
        feature_operators.weighted_histograms(simple, near, edges),
        fpfh.weighted_histograms(simple, near, radii))


@pytest.mark.parametrize('count', [0, 1])
def test_no_voxels_and_one(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in, nothing out; one voxel meets the centre of a kernel."""
    for strides in STRIDES:
        for channels in ((1, 4), (6, 32)):
            results = both(torch.full((count, 4), 3), 3, channels, strides, monkeypatch)
            for one, other in zip(*results, strict=True):
                assert_equal_to_scale(one, other)


@pytest.mark.skipif(platform.machine() != 'x86_64', reason='the flags are those of x86')
@pytest.mark.parametrize('flag', ['-mno-avx512f', '-mno-avx'])
def test_narrower_vectors_give_the_same(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As older processors have them."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(library, 'FLAGS', (*library.FLAGS, flag))
    narrow = library.open_kernel()
    assert narrow.library
    monkeypatch.setattr(dispatch, 'native_kernel', lambda: narrow)
    for channels in ((1, 20), (7, 96)):
        results = both(random_voxels(4, 500), 3, channels, (1, 2), monkeypatch)
        for one, other in zip(*results, strict=True):
            assert_equal_to_scale(one, other)


def test_features_with_gaps_in_memory() -> None:
    """Every other column of a wider array, and a transposed kernel."""
    engine = open_engine('torch', random_voxels(1, 300))
    features, kernel = inputs(engine, 3, (16, 32), 1, torch.float32)
    wide = torch.stack([features, torch.full_like(features, np.nan)], 2).flatten(1)
    turned = kernel.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(engine.convolve(wide[:, ::2], turned, 1, 1),
                       engine.convolve(features, kernel, 1, 1))


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients; the rows are of several pieces."""
    engine = open_engine('torch', random_voxels(2, 3000))
    assert len(engine.coordinates(1)) > 2000
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, 'get_num_threads', lambda threads=threads: threads)
        features, kernel = inputs(engine, 3, (9, 48), 1, torch.float32)
        out = engine.convolve(features.requires_grad_(), kernel.requires_grad_(), 1, 2)
        out.square().sum().backward()
        results.append((engine.convolve(features[:, :1].detach(), kernel[:, :1], 1, 1),
                        out, features.grad, kernel.grad))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_it_serves_float32_on_the_cpu() -> None:
    """Half and double precision are left to torch."""
    engine = open_engine('torch', random_voxels(3, 50))
    features, kernel = inputs(engine, 3, (8, 16), 1)
    for dtype in (torch.float64, torch.bfloat16):
        assert engine.convolve(features.to(dtype), kernel.to(dtype), 1, 1).dtype == dtype
