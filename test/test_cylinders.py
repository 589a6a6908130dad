# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cylinder histograms and the descriptor on them, against loops and invariants."""

from __future__ import annotations

import cmath

from mvreg_ros.features import cylinders
from mvreg_ros.features.cylinder_descriptor import (
    CylinderDescriptor,
    oriented_keypoints,
    surroundings,
)
from mvreg_ros.features.cylinder_network import CylinderConfig, CylinderNetwork
from mvreg_ros.features.cylinders import (
    BINS,
    cylinder_histograms,
    HALF_HEIGHT,
    HARMONICS,
    HEIGHT,
    moments,
    PHASES,
    RADIAL,
    WIDTH,
)
from mvreg_ros.native import dispatch
from mvreg_ros.types import Fragment
import numpy as np
import pytest
from random_motion import random_pose
import torch

RADIUS = 0.4


def cloud(count: int = 150, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points in a cube with unit normals in all directions."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 3, generator=generator)
    normals = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return points, normals


def twin(
    centre: np.ndarray, axis: np.ndarray, points: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """Return the histogram of one keypoint, bin by bin and point by point."""
    tangent = np.cross(axis, [0.3, 0.5, -0.8])
    tangent /= np.linalg.norm(tangent)
    other = np.cross(axis, tangent)
    bins = np.zeros((RADIAL, HEIGHT, 3 + HARMONICS), complex)
    total = 0.0
    for point, normal in zip(points, normals, strict=True):
        offset = point - centre
        if np.linalg.norm(offset) >= RADIUS:
            continue
        along, x, y = offset @ axis, offset @ tangent, offset @ other
        direction = complex(x, y) / abs(complex(x, y)) if abs(complex(x, y)) else 0
        outward = normal @ tangent * direction.real + normal @ other * direction.imag \
            if direction else 0
        values = [1, normal @ axis, outward] + [direction**m for m in range(1, HARMONICS + 1)]
        r = np.clip(abs(complex(x, y)) / RADIUS * RADIAL - 0.5, 0, RADIAL - 1)
        h = np.clip((along / RADIUS / HALF_HEIGHT + 1) * HEIGHT / 2 - 0.5, 0, HEIGHT - 1)
        for a in range(RADIAL):
            for b in range(HEIGHT):
                weight = max(0, 1 - abs(r - a)) * max(0, 1 - abs(h - b))
                bins[a, b] += weight * np.array(values)
        total += 1
    bins /= max(total, 1)

    def root(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.sqrt(np.abs(x))

    def relative(a: complex, b: complex) -> complex:
        return abs(a * b) ** 0.25 * cmath.exp(1j * (cmath.phase(a) - cmath.phase(b)))

    harmonics = bins[..., 3:]
    phases = [relative(harmonics[a + 1, b, m], harmonics[a, b, m])
              for a in range(RADIAL - 1) for b in range(HEIGHT) for m in range(PHASES)]
    phases += [relative(harmonics[a, b + 1, m], harmonics[a, b, m])
               for a in range(RADIAL) for b in range(HEIGHT - 1) for m in range(PHASES)]
    return np.concatenate([
        *(root(bins[..., k].real).ravel() for k in range(3)),
        np.sqrt(np.abs(harmonics)).reshape(BINS, -1).ravel(),
        np.real(phases), np.imag(phases), [np.log(max(total, 1)) / 5]])


@pytest.fixture
def torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without the native kernel."""
    monkeypatch.setattr(dispatch, 'serves', lambda *tensors, dtype=None: False)


def test_histograms_equal_those_of_a_loop_over_bins() -> None:
    """Ten keypoints among points all around, one of them far from all."""
    points, normals = cloud()
    queries = torch.cat([points[:9], torch.tensor([[9.0, 9.0, 9.0]])])
    found = cylinder_histograms(queries, normals[:10], points, normals, RADIUS)
    assert found.shape == (10, WIDTH)
    for row, query, normal in zip(found, queries, normals, strict=False):
        expected = twin(*(x.double().numpy() for x in (query, normal, points, normals)))
        np.testing.assert_allclose(row, expected, atol=2e-4)


def test_torch_alone_gives_the_same(torch_alone: None) -> None:
    test_histograms_equal_those_of_a_loop_over_bins()


def test_a_dense_place_does_not_widen_the_rows_of_all(
    torch_alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However uneven the neighbours, no more than `PAIRS` places are taken at a time."""
    lonely, _ = cloud(450)
    dense, _ = cloud(300, seed=1)
    points = torch.cat([100 * lonely + 1, 0.1 * dense])
    queries = points[:451]
    normals = torch.nn.functional.normalize(points, dim=1)
    sizes = []

    def recorded(offset: torch.Tensor, normal: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        sizes.append(mask.numel())
        return moments(offset, normal, mask)

    whole = cylinder_histograms(queries, normals[:451], points, normals, RADIUS)
    monkeypatch.setattr(cylinders, 'PAIRS', 400)
    monkeypatch.setattr(cylinders, 'moments', recorded)
    parts = cylinder_histograms(queries, normals[:451], points, normals, RADIUS)
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)
    assert max(sizes) <= 400


def test_no_motion_changes_them() -> None:
    """Turned and moved, with the points in another order: the same numbers."""
    points, normals = cloud()
    T = random_pose(np.random.default_rng(3)).float()
    moved, turned = points @ T[:3, :3].T + T[:3, 3], normals @ T[:3, :3].T
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(1))
    expected = cylinder_histograms(points, normals, points, normals, RADIUS)
    found = cylinder_histograms(moved, turned, moved[order], turned[order], RADIUS)
    # The fourth root of what is almost nothing magnifies what was rounded.
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_pieces_give_what_the_whole_gives(
    torch_alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory bound changes nothing but the memory."""
    points, normals = cloud()
    whole = cylinder_histograms(points, normals, points, normals, RADIUS)
    monkeypatch.setattr(cylinders, 'PAIRS', 400)
    pieces = cylinder_histograms(points, normals, points, normals, RADIUS)
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=0)


def test_the_descriptor_is_the_same_in_every_unit() -> None:
    """A room twice as large in voxels twice as large has the same descriptors."""
    network = CylinderNetwork(CylinderConfig())
    fragment = Fragment(room_corner())
    small = CylinderDescriptor(network, 0.05, torch.device('cpu'))(fragment)
    large = CylinderDescriptor(network, 0.1, torch.device('cpu'))(
        Fragment(2 * fragment.points))
    torch.testing.assert_close(large.points, 2 * small.points)
    torch.testing.assert_close(large.descriptors, small.descriptors, atol=1e-3, rtol=0)
    torch.testing.assert_close(small.descriptors.norm(dim=1), torch.ones(len(small.points)))


def test_the_context_is_that_of_the_keypoints_that_are_left() -> None:
    """Beside the descriptors, which are the same with it and without."""
    torch.manual_seed(0)
    network = CylinderNetwork(CylinderConfig(context=(6.0, 12.0)))
    fragment = Fragment(room_corner())
    found = CylinderDescriptor(network, 0.05, torch.device('cpu'), 300)(fragment)
    assert network.context is not None and found.context is not None
    assert found.context.shape == (300, 2 * found.descriptors.shape[1])
    with torch.no_grad():
        expected = network.context.described(found.points, found.descriptors, 0.05)
    assert torch.equal(found.context, expected.half())
    network.context = None
    without = CylinderDescriptor(network, 0.05, torch.device('cpu'), 300)(fragment)
    assert without.context is None and torch.equal(without.descriptors, found.descriptors)


def test_many_keypoints_are_thinned_out_the_same_way_each_time() -> None:
    """At most so many, described as they would be among all."""
    network = CylinderNetwork(CylinderConfig())
    fragment = Fragment(room_corner())
    all_of_them = CylinderDescriptor(network, 0.05, torch.device('cpu'))(fragment)
    some = CylinderDescriptor(network, 0.05, torch.device('cpu'), 50)(fragment)
    again = CylinderDescriptor(network, 0.05, torch.device('cpu'), 50)(fragment)
    assert len(some.points) == 50 < len(all_of_them.points)
    assert torch.equal(some.descriptors, again.descriptors)
    rows = [int((all_of_them.points == point).all(1).nonzero()[0, 0]) for point in some.points]
    torch.testing.assert_close(
        some.descriptors, all_of_them.descriptors[rows], atol=1e-4, rtol=0)


def test_the_network_begins_with_the_principal_components() -> None:
    """Of inputs along few directions nothing is lost: what is near in them is near."""
    config = CylinderConfig(out_channels=8)
    network = CylinderNetwork(config).eval()
    corner = torch.from_numpy(room_corner())
    keypoints, normals = oriented_keypoints(corner, torch.ones(3), config, 0.05)
    inputs = surroundings(keypoints, normals, torch.arange(len(keypoints)), config, 0.05)
    assert inputs.shape[1] == config.in_channels
    network.begin_with(inputs)
    x = network.standardized(inputs)
    projected = network.projection(x)
    # The best eight directions of all: the same energy as the eight largest singular values.
    energy = torch.linalg.svdvals(x)[:8].square().sum() / 9
    torch.testing.assert_close(projected.square().sum(), energy, rtol=1e-3, atol=0)
    learned, plain = network(inputs).split([8, config.fpfh_channels], 1)
    length = (1 + config.fpfh_weight**2) ** -0.5
    torch.testing.assert_close(
        learned, length * torch.nn.functional.normalize(projected, dim=1), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        plain.norm(dim=1), torch.full((len(plain),), length * config.fpfh_weight))


def test_of_the_fpfh_the_principal_components_stay() -> None:
    """Uncorrelated, each with the root of its variance, so that none of them rules."""
    network = CylinderNetwork(CylinderConfig(fpfh_channels=4))
    fpfh = network.whitening.shape[1]
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(fpfh, fpfh, generator=generator)).Q
    inputs = torch.zeros(5000, network.config.in_channels)
    spread = torch.linspace(0.1, 2, fpfh)
    inputs[:, :fpfh] = (torch.randn(5000, fpfh, generator=generator) * spread) @ axes.T
    network.begin_with(inputs)
    left = (inputs[:, :fpfh] @ network.whitening.T).T.cov()
    largest = torch.linalg.eigvalsh(inputs[:, :fpfh].T.cov())[-4:].sqrt()
    torch.testing.assert_close(left, torch.diag(largest), atol=0.02, rtol=0.02)


@pytest.mark.parametrize('wrong', [
    {'out_channels': 0}, {'radii': (18.0, -1.0)}, {'hidden': (0,)}, {'thinning': 0.0}])
def test_sizes_have_to_be_positive(wrong: dict) -> None:
    with pytest.raises(ValueError, match='must be positive'):
        CylinderConfig(**wrong)


@pytest.mark.parametrize(('wrong', 'message'), [
    ({'fpfh': ()}, 'must ascend'), ({'fpfh': (9.0, 6.0)}, 'must ascend'),
    ({'fpfh': (6.0,), 'fpfh_channels': 34}, 'components of 33 numbers')])
def test_the_fpfh_has_to_be_there(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CylinderConfig(**wrong)


def room_corner() -> np.ndarray:
    """Return two walls and a floor, (N, 3) float32, with a box in the corner."""
    a, b = (x.ravel() for x in np.meshgrid(np.arange(0, 2, 0.05), np.arange(0, 2, 0.05)))
    zero = np.zeros_like(a)
    sides = [np.stack(x, 1) for x in ((a, b, zero), (zero, a, b), (a, zero, b))]
    box = np.stack([0.3 + 0.2 * a, 0.3 + 0.2 * b, 0.5 + zero], 1)
    return np.concatenate([*sides, box]).astype(np.float32) + 0.01
