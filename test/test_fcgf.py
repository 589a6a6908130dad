# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""FCGF: the published names and shapes, invariances, and a dense network as its twin."""

from __future__ import annotations

from contextlib import nullcontext

from mvreg_ros.device import autocast
from mvreg_ros.features.fcgf import FcgfConfig, ResUNetBN2C
from mvreg_ros.features.fcgf_descriptor import FcgfDescriptor
from mvreg_ros.features.normals import estimate_normals
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.sparse.engine import open_engine
from mvreg_ros.types import Fragment, InputError
import numpy as np
from published_weights import FCGF_SHAPES
import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv3d, conv_transpose3d, normalize, relu

SMALL = FcgfConfig(
    encoder=(4, 6, 8, 10), decoder=(5, 7, 6, 9), out_channels=3, conv1_kernel_size=5)
CPU = torch.device('cpu')


def small_network(dtype: torch.dtype = torch.float32) -> ResUNetBN2C:
    """Return a small network in evaluation mode whose statistics are not the initial ones."""
    torch.manual_seed(0)
    network = ResUNetBN2C(SMALL)
    for name, tensor in network.state_dict().items():
        if name.endswith(('.running_mean', '.bn.bias')):
            tensor.normal_(0, 0.1)
        elif name.endswith(('.running_var', '.bn.weight')):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith('.kernel'):
            tensor.mul_(3)  # large enough for the deepest stage to be felt
    return network.to(dtype).eval()


def voxels(seed: int, count: int = 400, batch: int = 0) -> Tensor:
    """Return (N, 4) coordinates of a random cloud either side of the origin."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(-12, 13, (count, 3), generator=generator)
    return torch.nn.functional.pad(cells.unique(dim=0), (1, 0), value=batch)


def describe(network: ResUNetBN2C, coordinates: Tensor) -> Tensor:
    """Return the features of occupied voxels."""
    ones = torch.ones(len(coordinates), 1, dtype=next(network.parameters()).dtype)
    with torch.no_grad():
        return network(ones, open_engine('torch', coordinates))


def test_names_and_shapes_are_the_published_ones() -> None:
    network = ResUNetBN2C()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == FCGF_SHAPES
    assert len(shapes) == 129
    assert sum(parameter.numel() for parameter in network.parameters()) == 8_760_384


def test_sizes_can_be_chosen() -> None:
    shapes = ResUNetBN2C(FcgfConfig(conv1_kernel_size=5, out_channels=16)).state_dict()
    assert shapes['conv1.kernel'].shape == (125, 1, 32)
    assert shapes['final.kernel'].shape == (64, 16) and shapes['final.bias'].shape == (1, 16)
    shapes = ResUNetBN2C(FcgfConfig(in_channels=4)).state_dict()
    assert shapes['conv1.kernel'].shape == (343, 4, 32)


def test_features_move_with_the_coarsest_voxels() -> None:
    network, coordinates = small_network(torch.float64), voxels(0)
    features = describe(network, coordinates)
    moved = describe(network, coordinates + torch.tensor([0, 8, -16, 24]))
    torch.testing.assert_close(moved, features, rtol=0, atol=1e-12)
    off_grid = describe(network, coordinates + torch.tensor([0, 1, 0, 0]))
    assert (off_grid - features).abs().max() > 1e-3


def test_the_order_of_the_voxels_does_not_matter() -> None:
    network, coordinates = small_network(torch.float64), voxels(1)
    order = torch.randperm(len(coordinates), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        describe(network, coordinates[order]), describe(network, coordinates)[order],
        rtol=0, atol=1e-12)


def test_clouds_of_a_batch_do_not_see_each_other() -> None:
    network = small_network(torch.float64)
    first, second = voxels(2), voxels(3, 300, batch=1)
    both = describe(network, torch.cat([first, second]))
    alone = torch.cat([describe(network, first), describe(network, second * torch.tensor([
        [0, 1, 1, 1]]))])
    torch.testing.assert_close(both, alone, rtol=0, atol=1e-12)


def test_a_full_grid_gives_what_dense_convolution_gives() -> None:
    network, size = small_network(torch.float64), (16, 8, 24)
    coordinates = torch.cartesian_prod(*(torch.arange(n) for n in (1, *size)))
    features = describe(network, coordinates)
    dense = dense_twin(network.state_dict(), size)
    assert features.std() > 0.1
    torch.testing.assert_close(features, dense, rtol=0, atol=1e-10)


def dense_twin(state: dict[str, Tensor], size: tuple[int, ...]) -> Tensor:
    """Return the features of a full grid, x slowest, by convolution of volumes."""
    def volume(kernel: Tensor) -> Tensor:
        """Return a kernel, x fastest, as (Cin, Cout, x, y, z)."""
        k = round(len(kernel) ** (1 / 3)) if kernel.dim() == 3 else 1
        return kernel.reshape(k, k, k, *kernel.shape[-2:]).permute(3, 4, 2, 1, 0)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        kernel = volume(state[f'{name}.kernel']).transpose(0, 1)
        return conv3d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            state[f'{name}.bn.{k}'] for k in ('running_mean', 'running_var', 'weight', 'bias'))
        return batch_norm(x, mean, var, weight, bias)

    def block(x: Tensor, name: str) -> Tensor:
        y = relu(norm(conv(x, f'{name}.conv1'), f'{name}.norm1'))
        return relu(norm(conv(y, f'{name}.conv2'), f'{name}.norm2') + x)

    def up(x: Tensor, skip: Tensor, stage: int) -> Tensor:
        kernel = volume(state[f'conv{stage}_tr.kernel'])
        x = conv_transpose3d(x, kernel, stride=2, padding=1, output_padding=1)
        return torch.cat([block(norm(x, f'norm{stage}_tr'), f'block{stage}_tr'), skip], 1)

    x = torch.ones(1, 1, *size, dtype=torch.float64)
    skips = []
    for stage in (1, 2, 3, 4):
        x = block(norm(conv(x, f'conv{stage}', min(stage, 2)), f'norm{stage}'), f'block{stage}')
        skips.append(x)
    for stage in (4, 3, 2):
        x = up(x, skips[stage - 2], stage)
    x = conv(relu(conv(x, 'conv1_tr')), 'final') + state['final.bias'][..., None, None, None]
    return normalize(x[0].flatten(1).T, dim=1)


def test_every_parameter_gets_a_gradient() -> None:
    network, coordinates = small_network().train(), voxels(4)
    features = network(torch.ones(len(coordinates), 1), open_engine('torch', coordinates))
    features[:, 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_half_precision_is_close_and_the_lengths_are_exact() -> None:
    network, coordinates = small_network(), voxels(5)
    exact = describe(network, coordinates)
    with torch.autocast('cpu', torch.bfloat16):
        half = describe(network, coordinates)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.norm(dim=1), torch.ones(len(half)))
    assert 0 < (half - exact).abs().max() < 0.1


@pytest.mark.parametrize('device', ['cpu', 'mps'])
def test_only_cuda_has_half_precision(device: str) -> None:
    assert isinstance(autocast(torch.device(device)), nullcontext)


def sheet(count: int = 3000) -> Fragment:
    """Return a wavy sheet in front of a sensor."""
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, count))
    points = np.stack([x, y, 2 + 0.15 * np.sin(4 * x) + 0.1 * np.cos(5 * y)], 1)
    return Fragment(points.astype(np.float32), sensor_origin=np.float32([0.1, 0, 0]))


def test_the_descriptor_describes_every_voxel_by_its_first_point() -> None:
    fragment, size = sheet(), 0.1
    network = small_network().train()
    features = FcgfDescriptor(network, size, CPU)(fragment)
    assert not network.training
    points = torch.from_numpy(fragment.points)
    points = points[voxel_down_sample(points, size)]
    assert 100 < len(points) < len(fragment.points)
    assert torch.equal(features.points, points)
    cells = torch.nn.functional.pad(torch.floor(points / size).long(), (1, 0))
    assert torch.equal(features.descriptors, describe(network, cells))
    torch.testing.assert_close(features.descriptors.norm(dim=1), torch.ones(len(points)))
    assert torch.equal(features.sensor_origin, torch.tensor([0.1, 0, 0]))
    assert torch.equal(
        features.normals, estimate_normals(points, points, 0.4, features.sensor_origin))


def test_of_too_many_keypoints_always_the_same_are_taken() -> None:
    everything = FcgfDescriptor(small_network(), 0.1, CPU)(sheet())
    describe_some = FcgfDescriptor(small_network(), 0.1, CPU, max_keypoints=50)
    some, again = describe_some(sheet()), describe_some(sheet())
    assert len(some.points) == len(some.normals) == len(some.descriptors) == 50
    assert torch.equal(some.points, again.points)
    assert torch.equal(some.descriptors, again.descriptors)
    rows = torch.cdist(some.points, everything.points).argmin(1)
    assert torch.equal(everything.points[rows], some.points)
    assert torch.equal(everything.descriptors[rows], some.descriptors)
    assert rows.max() > 100  # not the first fifty


def test_larger_voxels_describe_a_larger_world() -> None:
    large = sheet()
    large = Fragment(large.points * 4, sensor_origin=large.sensor_origin * 4)
    ours = FcgfDescriptor(small_network(), 0.125, CPU)(sheet())
    theirs = FcgfDescriptor(small_network(), 0.5, CPU)(large)
    assert torch.equal(ours.descriptors, theirs.descriptors)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(InputError, match='abacus'):
        FcgfDescriptor(small_network(), 0.1, CPU, engine='abacus')(sheet())
