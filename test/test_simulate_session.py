# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated session agrees with its ground truth, repeats itself, and is a scene of 3DMatch."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from mvreg_ros.data.clouds import read_cloud
from mvreg_ros.data.logs import read_info, read_log, read_overlap
from mvreg_ros.data.scenes import cloud_scenes, Scene
from mvreg_ros.simulate import simulate_session, SimulatedSession
from mvreg_ros.simulate.ground_truth import OVERLAP_RADIUS, overlaps, world_points
from mvreg_ros.simulate.scene_files import write_scene
from mvreg_ros.types import InputError
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

COUNT = 10


@pytest.fixture(scope='module')
def session() -> SimulatedSession:
    return simulate_session(0, rooms=2, fragments=COUNT)


@pytest.fixture(scope='module')
def share(session) -> np.ndarray:
    return overlaps(session)


@pytest.fixture(scope='module')
def root(session, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('scenes')
    write_scene(session, root, 'flat')
    return root


@pytest.fixture(scope='module')
def scene(root) -> Scene:
    return cloud_scenes(root, '3dmatch')[0]


def test_fragments(session):
    """Fragments are what a depth camera publishes: own frames, points ahead, stamps that rise."""
    assert len(session.fragments) == COUNT
    for k, fragment in enumerate(session.fragments):
        points = fragment.points
        assert points.dtype == np.float32
        assert points.flags.c_contiguous
        assert np.isfinite(points).all()
        assert 5000 < len(points) < 50000
        assert fragment.id == k
        assert fragment.frame_id == 'camera'
        assert not fragment.sensor_origin.any()
        assert np.median(points[:, 2]) > 1
        assert np.linalg.norm(points, axis=1).max() < 7
    stamps = [fragment.stamp_ns for fragment in session.fragments]
    assert stamps[0] > 0
    assert np.all(np.diff(stamps) > 0)


def test_poses_are_those_of_the_first_cameras(session):
    """T_world_fragment are rigid, on the trajectory, in the order of the fragments."""
    poses = session.T_world_fragment
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1)
    first = session.trajectory.reshape(COUNT, -1, 3)[:, 0]
    np.testing.assert_array_equal(poses[:, :3, 3], first)


def test_fragments_agree_in_the_world(session, share):
    """Common points of overlapping pairs are as near as noise and spacing allow, in all pairs."""
    clouds = world_points(session)
    pairs = [pair for pair in combinations(range(COUNT), 2) if share[pair] > 0.3]
    assert len(pairs) >= COUNT
    for i, j in pairs:
        distance, _ = cKDTree(clouds[i]).query(clouds[j], distance_upper_bound=OVERLAP_RADIUS)
        assert np.median(distance[np.isfinite(distance)]) < 0.02, (i, j)


def test_overlaps_agree_with_brute_force(session, share):
    """The share of points with a neighbour is what all distances of some points say."""
    clouds = world_points(session)
    assert not np.tril(share).any()
    for i, j in ((0, 1), (3, 4), (0, 5), (1, 7)):
        some = clouds[i][::60]
        nearest = [np.linalg.norm(clouds[j] - point, axis=1).min() for point in some]
        near = np.mean(np.array(nearest) < OVERLAP_RADIUS)
        assert share[i, j] == pytest.approx(near, abs=0.05)


@pytest.mark.parametrize('radius', [OVERLAP_RADIUS, 0.075])
def test_overlap_graph_is_connected(session, radius):
    """Neighbours along the walk overlap, others close loops, and no fragment is left out."""
    share = overlaps(session, radius)
    linked = share > 0.3
    assert connected_components(linked, directed=False)[0] == 1
    assert np.triu(linked, 2).any()
    assert 0.35 < np.median(np.diag(share, 1)) < 0.85


def test_same_seed_same_session():
    """The same arguments give the same bits, another seed another flat; progress is told."""
    told = []
    first, again = (
        simulate_session(5, 1, 1, lambda *step: told.append(step)) for _ in range(2))
    other = simulate_session(6, 1, 1)
    assert first.fragments[0].points.tobytes() == again.fragments[0].points.tobytes()
    assert first.T_world_fragment.tobytes() == again.T_world_fragment.tobytes()
    assert len(first.fragments[0].points) != len(other.fragments[0].points)
    assert told == [('simulation', 1, 1)] * 2


@pytest.mark.parametrize(('rooms', 'fragments'), [(0, 5), (-1, 5), (2, 0)])
def test_a_session_needs_a_room_and_a_fragment(rooms, fragments):
    """Less than one room or fragment is refused in one line."""
    with pytest.raises(InputError, match='needs a room and a fragment'):
        simulate_session(0, rooms, fragments)


def test_a_negative_seed_is_refused():
    """The generator knows none."""
    with pytest.raises(InputError, match='a seed is 0 or more'):
        simulate_session(-1)


def test_scene_has_the_fragments(session, scene):
    """The clouds that are read back are those of the session, bit for bit."""
    assert scene.count == COUNT
    for fragment, path in zip(session.fragments, scene.clouds, strict=True):
        np.testing.assert_array_equal(read_cloud(path), fragment.points)
        pose = np.loadtxt(path.with_name(f'{path.stem}.info.txt'), skiprows=1)
        np.testing.assert_allclose(pose, session.T_world_fragment[fragment.id], atol=1e-9)


def test_scene_has_the_pairs(session, scene, root, share):
    """3DMatch lists the pairs above 0.3, 3DLoMatch those above 0.1, gt_overlap.log all."""
    listed = read_overlap(root / 'benchmarks/3DMatch/flat/gt_overlap.log')
    assert listed.keys() == set(combinations(range(COUNT), 2))
    assert set(scene.truth) == {'3dmatch', '3dlomatch'}
    for pair, overlap in listed.items():
        assert overlap == pytest.approx(share[pair], abs=1e-4)
        assert (pair in scene.truth['3dmatch'].T_i_j) == (share[pair] > 0.3)
        assert (pair in scene.truth['3dlomatch'].T_i_j) == (0.1 < share[pair] <= 0.3)


def test_truth_and_information_of_a_pair(session, root):
    """T_i_j moves j onto i; the information is the sum of G^T G over 5000 points in frame i."""
    folder = root / 'benchmarks/3DMatch/flat'
    T_i_j = read_log(folder / 'gt.log').matrices[1, 2]
    information = read_info(folder / 'gt.info').matrices[1, 2]
    cloud_i, cloud_j = (session.fragments[k].points.astype(float) for k in (1, 2))
    moved = cloud_j @ T_i_j[:3, :3].T + T_i_j[:3, 3]
    distance, _ = cKDTree(cloud_i).query(moved)
    common = moved[distance < OVERLAP_RADIUS]
    assert np.median(distance[distance < OVERLAP_RADIUS]) < 0.02
    count = information[0, 0]
    assert count == min(len(common), 5000)
    expected = np.zeros((6, 6))
    for x, y, z in common:
        G = np.hstack([np.eye(3), -np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])])
        expected += G.T @ G / len(common)
    np.testing.assert_allclose(information / count, expected, atol=0.05)
    assert np.linalg.eigvalsh(information).min() > 0
