# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Voxels, neighbours, normals and FPFH against brute force, known answers and Open3D."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mvreg_ros.features.descriptor import FpfhDescriptor
from mvreg_ros.features.fpfh import fpfh
from mvreg_ros.features.neighbors import radius_neighbors
from mvreg_ros.features.normals import estimate_normals
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.native import dispatch
from mvreg_ros.types import Fragment, InputError
import numpy as np
import open3d as o3d
import pytest
from scipy.spatial.transform import Rotation
import torch

CLOUDS = arrays(
    np.float32, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(-3, 3, width=32)
)


def bumpy_surface(seed: int = 0, count: int = 1500) -> tuple[torch.Tensor, torch.Tensor]:
    """Return points (N, 3) and unit normals (N, 3) of a wavy sheet above the origin."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 1, (2, count))
    z = 2 + 0.15 * np.sin(4 * x) + 0.1 * np.cos(5 * y)
    normals = np.stack([0.6 * np.cos(4 * x), -0.5 * np.sin(5 * y), -np.ones(count)], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = np.stack([x, y, z], 1)
    return torch.from_numpy(points).float(), torch.from_numpy(normals).float()


@given(CLOUDS, st.sampled_from([0.05, 0.3, 1.0]))
def test_voxels_keep_the_first_point_and_nothing_else(points: np.ndarray, size: float) -> None:
    """The first point of each voxel stays, in input order; a second time changes nothing."""
    first: dict[tuple, int] = {}
    for k, cell in enumerate(np.floor(points / np.float32(size))):
        first.setdefault(tuple(cell), k)
    rows = voxel_down_sample(torch.from_numpy(points), size)
    assert rows.tolist() == sorted(first.values())
    again = voxel_down_sample(torch.from_numpy(points)[rows], size)
    assert again.tolist() == list(range(len(rows)))


def test_voxels_of_negative_coordinates_are_floored() -> None:
    """A point just below zero is in another voxel than one just above."""
    points = torch.tensor([[-0.01, 0, 0], [0.01, 0, 0], [-0.09, 0, 0]])
    assert voxel_down_sample(points, 0.1).tolist() == [0, 1]


def test_a_cloud_in_millimetres_is_refused_with_the_cure() -> None:
    """Extents beyond 2^20 voxels mean wrong units."""
    with pytest.raises(InputError, match='units'):
        voxel_down_sample(torch.tensor([[0.0, 0, 0], [5e6, 0, 0]]), 0.025)


@given(CLOUDS, CLOUDS, st.sampled_from([0.2, 0.7, 2.5]), st.sampled_from([1, 50, 10**6]))
def test_neighbors_are_those_of_brute_force(
    queries: np.ndarray, points: np.ndarray, radius: float, chunk: int
) -> None:
    """The same pairs and distances as a full distance table, however small the chunks."""
    q, p = torch.from_numpy(queries), torch.from_numpy(points)
    near = radius_neighbors(q, p, radius, chunk)
    table = (p[None] - q[:, None]).square().sum(2).sqrt()
    expected = {(a, b) for a, b in (table < radius).nonzero().tolist()}
    found = list(zip(near.query.tolist(), near.index.tolist(), strict=True))
    # A pair at the radius to the last bit may fall on either side.
    undecided = {(a, b) for a, b in ((table - radius).abs() < 1e-6).nonzero().tolist()}
    assert set(found) - undecided == expected - undecided
    assert len(found) == len(set(found))
    assert near.counts.tolist() == [[a for a, _ in found].count(k) for k in range(len(q))]
    torch.testing.assert_close(near.distance, table[near.query, near.index])
    closer = near.within(radius / 2)
    assert closer.counts.sum() == len(closer.index) == int((near.distance < radius / 2).sum())


def test_normals_of_a_known_surface_face_the_viewpoint() -> None:
    """Normals of a wavy sheet are within a few degrees of the truth, and flip with the viewer."""
    points, normals = bumpy_surface(count=20000)
    queries = points[:500]
    below = estimate_normals(queries, points, 0.08, torch.zeros(3))
    inner = queries[:, :2].abs().amax(1) < 0.9
    assert (below * normals[:500]).sum(1)[inner].min() > np.cos(np.radians(10))
    above = estimate_normals(queries, points, 0.08, torch.tensor([0.0, 0, 10]))
    torch.testing.assert_close(above, -below)


def test_a_lonely_point_looks_at_the_viewpoint() -> None:
    """Without neighbours there is no surface: the normal is the direction to the sensor."""
    point = torch.tensor([[0.0, 0, 5]])
    torch.testing.assert_close(
        estimate_normals(point, point, 0.1, torch.zeros(3)), torch.tensor([[0.0, 0, -1]])
    )


@pytest.mark.parametrize('native', [True, False])
def test_fpfh_equals_open3d(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but a few counts in ten thousand, which sit on the border of two bins, are the same."""
    if not native:
        monkeypatch.setattr(dispatch, 'serves', lambda *tensors: False)
    points, normals = bumpy_surface()
    radii = (0.12, 0.2, 0.4)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.double().numpy()))
    cloud.normals = o3d.utility.Vector3dVector(normals.double().numpy())
    for radius, ours in zip(radii, fpfh(points, normals, radii), strict=True):
        search = o3d.geometry.KDTreeSearchParamHybrid(radius, 10000)
        theirs = o3d.pipelines.registration.compute_fpfh_feature(cloud, search).data.T
        difference = np.abs(ours.numpy() - theirs)
        assert (difference > 0.5).mean() < 1e-3
        assert np.median(difference) < 1e-4


def test_fpfh_of_a_point_alone_is_zero() -> None:
    """A point without neighbours has empty histograms, and nothing divides by zero."""
    points = torch.tensor([[0.0, 0, 0], [9.0, 0, 0]])
    normals = torch.tensor([[0.0, 0, 1], [0.0, 0, 1]])
    assert not fpfh(points, normals, (0.5,)).any()


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_descriptors_do_not_depend_on_the_frame(seed: int) -> None:
    """A rotated and moved fragment with its sensor has the same descriptors at the same points."""
    points, _ = bumpy_surface(seed % 7, 4000)
    rotation = torch.from_numpy(Rotation.random(random_state=seed).as_matrix()).float()
    moved = points @ rotation.T + torch.tensor([1.0, -2.0, 0.5])
    origin = torch.tensor([1.0, -2.0, 0.5])
    radii = (0.15, 0.25)
    here = fpfh(points[:800], estimate_normals(points[:800], points, 0.1, torch.zeros(3)), radii)
    there = fpfh(moved[:800], estimate_normals(moved[:800], moved, 0.1, origin), radii)
    # Counts that sit on the border of two bins may change sides.
    assert ((here - there).abs() > 0.5).float().mean() < 5e-3


def test_the_descriptor_has_unit_rows_and_a_bounded_number() -> None:
    """Descriptors have length one; of too many keypoints a fixed random subset is taken."""
    points, _ = bumpy_surface(count=6000)
    fragment = Fragment(points.numpy())
    everything = FpfhDescriptor(0.025, torch.device('cpu'))(fragment)
    assert everything.descriptors.shape == (len(everything.points), 99)
    torch.testing.assert_close(
        everything.descriptors.norm(dim=1), torch.ones(len(everything.points))
    )
    some = FpfhDescriptor(0.025, torch.device('cpu'), max_keypoints=50)(fragment)
    again = FpfhDescriptor(0.025, torch.device('cpu'), max_keypoints=50)(fragment)
    assert len(some.points) == 50
    assert torch.equal(some.descriptors, again.descriptors)
    table = torch.cdist(some.points, everything.points)
    assert torch.equal(everything.descriptors[table.argmin(1)], some.descriptors)
