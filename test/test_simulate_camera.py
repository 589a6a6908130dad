# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ray casting is exact, the sensor errs as measured, and fusion puts points on the surface."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from mvreg_ros.simulate.camera import Camera, DepthSensor, DISPARITY_STEP, scene_of, true_depth
from mvreg_ros.simulate.furniture import chair
from mvreg_ros.simulate.fusion import fuse, SPACING
from mvreg_ros.simulate.meshes import box, merge
from mvreg_ros.simulate.session import drifting
from mvreg_ros.simulate.trajectory import camera_rotation
import numpy as np
import pytest
import trimesh

CAMERA = Camera()
SHAPE = (CAMERA.height, CAMERA.width)
PERFECT = DepthSensor(CAMERA, np.zeros(SHAPE, np.float32))


def constant(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


def test_depth_of_a_box():
    """A box of 1.01 x 0.5 x 0.2 m whose front is 2 m ahead fills the pixels that it should."""
    scene = scene_of(box((1.01, 0.5, 0.2), (0.1, 0, 2.1)))
    depth, cosine = true_depth(scene, CAMERA, np.eye(4))
    u, v = np.meshgrid(np.arange(CAMERA.width) + 0.5, np.arange(CAMERA.height) + 0.5)
    x, y = (u - CAMERA.width / 2) / CAMERA.focal * 2, (v - CAMERA.height / 2) / CAMERA.focal * 2
    front = (np.abs(x - 0.1) < 0.505) & (np.abs(y) < 0.25)
    np.testing.assert_allclose(depth[front], 2, atol=1e-5)
    assert np.all(depth[~front] > 2)
    np.testing.assert_allclose(cosine[front], 2 / np.sqrt(x**2 + y**2 + 4)[front], atol=1e-5)


def test_points_from_a_turned_camera_lie_on_the_box():
    """True images, taken back to points of the world, lie on the faces of a room."""
    pose = np.eye(4)
    pose[:3, :3] = camera_rotation(*np.array([[0.7], [-0.3], [0.1]]))[0]
    pose[:3, 3] = 0.3, -0.4, 0.2
    depth, _ = true_depth(scene_of(box((4, 4, 3))), CAMERA, pose)
    points = CAMERA.points(depth) @ pose[:3, :3].T + pose[:3, 3]
    assert len(points) == depth.size
    distance_from_faces = np.abs(np.abs(points) - (2, 2, 1.5)).min(1)
    assert distance_from_faces.max() < 1e-5


@pytest.mark.parametrize('depth', [1.0, 2.0, 3.0])
def test_noise_grows_with_depth(depth):
    """The spread on a flat wall is the axial noise together with the steps of the disparity."""
    rng = np.random.default_rng(0)
    seen = PERFECT.measure(rng, constant(depth), constant(1))
    valid = seen[seen > 0]
    axial, step = 0.0012 + 0.0019 * (depth - 0.4) ** 2, DISPARITY_STEP * depth**2
    assert valid.std() == pytest.approx(np.hypot(axial, step / np.sqrt(12)), rel=0.1)
    assert abs(valid.mean() - depth) < 0.2 * axial
    assert np.mean(seen == 0) == pytest.approx(0.01, abs=0.003)


def test_inverse_depth_comes_in_steps():
    """All values of an image are whole multiples of the disparity step."""
    depth = np.linspace(0.6, 3.5, CAMERA.width, dtype=np.float32) * np.ones(SHAPE, np.float32)
    seen = PERFECT.measure(np.random.default_rng(0), depth, constant(1))
    steps = 1 / seen[seen > 0] / DISPARITY_STEP
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)


@settings(max_examples=15)
@given(st.one_of(st.floats(0.01, 0.42), st.floats(4.4, 100), st.just(np.inf)))
def test_nothing_is_seen_out_of_range(depth):
    """Too near, too far and nothing at all give no depth."""
    assert not PERFECT.measure(np.random.default_rng(0), constant(depth), constant(1)).any()


@settings(max_examples=15)
@given(st.floats(0.0, 1.0))
def test_steep_surfaces_drop_out(cosine):
    """The share that is lost falls from all at grazing incidence to one in a hundred."""
    seen = PERFECT.measure(np.random.default_rng(0), constant(1.5), constant(cosine))
    expected = np.clip((cosine - 0.03) / 0.15, 0, 0.99)
    assert np.mean(seen > 0) == pytest.approx(expected, abs=0.01)


def test_pixels_at_edges_are_lost_or_mixed():
    """Beside a step in depth some pixels are lost and some lie in between; elsewhere none does."""
    depth = constant(1)
    depth[:, CAMERA.width // 2:] = 2
    seen = PERFECT.measure(np.random.default_rng(0), depth, constant(1))
    edge = np.s_[:, CAMERA.width // 2 - 1:CAMERA.width // 2 + 1]
    between = (seen > 1.05) & (seen < 1.95)
    assert 0.5 < np.mean(seen[edge] == 0) < 0.7
    assert np.mean(between[edge]) > 0.1
    between[edge] = False
    assert not between.any()


def orbit(count: int) -> np.ndarray:
    """Return poses on an arc of 1.5 m about the origin, looking at it from above."""
    angle = np.linspace(0, 1, count)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = camera_rotation(angle + np.pi, np.full(count, -0.5), np.zeros(count))
    poses[:, :3, 3] = -1.5 * poses[:, :3, 2] + (0, 0, 0.4)
    return poses


def test_fused_points_lie_on_the_surface():
    """Of the points of images without noise 95 % are within 1 cm of a chair and its floor."""
    mesh = merge([chair(np.random.default_rng(3)), box((6, 6, 0.1), (0, 0, -0.05))])
    scene, poses = scene_of(mesh), orbit(8)
    images = [true_depth(scene, CAMERA, pose)[0] for pose in poses]
    images = [np.where(image < 4, image, 0).astype(np.float32) for image in images]
    points = fuse(images, np.linalg.inv(poses[0]) @ poses, CAMERA)
    assert len(points) > 3000
    assert len(np.unique(np.floor(points / SPACING), axis=0)) == len(points)
    world = points @ poses[0, :3, :3].T + poses[0, :3, 3]
    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    _, distance, _ = trimesh.proximity.closest_point_naive(surface, world[::10])
    assert np.mean(distance < 0.01) > 0.95
    assert np.mean(world[:, 2] > 0.1) > 0.03, 'the chair is missing'


def test_what_two_images_show_is_left_out():
    """A surface must be seen three times; images without any depth change nothing."""
    left, right, nothing = np.zeros((3, *SHAPE), np.float32)
    left[:, :100] = 1.507
    right[:, 200:] = 1.507
    images = [left + right, left + right, right, nothing, nothing]
    points = fuse(images, np.tile(np.eye(4), (len(images), 1, 1)), CAMERA)
    assert len(points) > 500
    assert points[:, 0].min() > 0


def test_odometry_drifts_from_the_first_pose():
    """The first pose is exact; the last is off by the root of the number of steps."""
    poses = np.tile(np.eye(4), (12, 1, 1))
    rng = np.random.default_rng(0)
    drifted = np.stack([drifting(rng, poses) for _ in range(400)])
    assert np.array_equal(drifted[:, 0], np.tile(np.eye(4), (400, 1, 1)))
    last = drifted[:, -1, :3, 3].std()
    assert last == pytest.approx(0.002 * np.sqrt(11), rel=0.1)
