# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ScanNet: depth images in the layout that its reader writes, made here, through the protocol."""

from __future__ import annotations

import json
from pathlib import Path

from mvreg_ros.cli import main
from mvreg_ros.data.scannet import read_depth_image, scannet_scenes
from mvreg_ros.types import InputError
import numpy as np
import open3d as o3d
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from small_scene import hills, VOXEL_SIZE

WIDTH, HEIGHT, FOCAL = 400, 300, 300.0
LOST = '\n'.join([' '.join(['-inf'] * 4)] * 4)


def depth_image(points: np.ndarray, T_world_view: np.ndarray) -> np.ndarray:
    """Return what a camera sees of points (N, 3), uint16 millimetres, 0 where there is nothing."""
    seen = (points - T_world_view[:3, 3]) @ T_world_view[:3, :3]
    middle = np.array([WIDTH // 2, HEIGHT // 2])
    u, v = np.round(FOCAL * seen[:, :2] / seen[:, 2:] + middle).astype(int).T
    inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    image = np.full((HEIGHT, WIDTH), np.inf)
    np.minimum.at(image, (v[inside], u[inside]), seen[inside, 2])
    return np.where(np.isfinite(image), np.round(1000 * image), 0).astype(np.uint16)


def write_view(folder: Path, number: int, image: np.ndarray, pose: str) -> None:
    """Write a frame of ScanNet."""
    o3d.io.write_image(
        str(folder / f'depth/{number}.png'), o3d.geometry.Image(np.ascontiguousarray(image)))
    (folder / f'pose/{number}.txt').write_text(pose)


def write_scene(root: Path, name: str) -> np.ndarray:
    """Write views from above on a hilly field, and others between them; return T_world_view."""
    folder = root / name
    for part in ('depth', 'pose', 'intrinsic', 'color'):
        (folder / part).mkdir(parents=True)
    K = np.diag([FOCAL, FOCAL, 1, 1])
    K[:2, 2] = WIDTH // 2, HEIGHT // 2
    np.savetxt(folder / 'intrinsic/intrinsic_depth.txt', K)
    field = hills(np.random.default_rng(0))
    poses = []
    for k, (x, y) in enumerate([(1.8, 1.6), (2.6, 2.3), (3.4, 1.7), (4.2, 2.3)]):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler('zx', [50 * k, 180], degrees=True).as_matrix()
        pose[:3, 3] = x, y, 2.5
        poses.append(pose)
        text = '\n'.join(' '.join(f'{value:.6f}' for value in row) for row in pose)
        # 0, 40, 80 and 120: at 20 tracking is lost, 60 and 100 are missing; 41 is in between.
        write_view(folder, 40 * k, depth_image(field, pose), text)
    blank = np.zeros((HEIGHT, WIDTH), np.uint16)
    write_view(folder, 20, blank, LOST)
    write_view(folder, 41, blank, text)
    return np.stack(poses)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a scene."""
    folder = tmp_path_factory.mktemp('scannet')
    write_scene(folder, 'scene0000_00')
    return folder


def test_views_with_a_pose_twenty_frames_apart(root: Path) -> None:
    scene, = scannet_scenes(root)
    assert scene.name == 'scene0000_00' and scene.count == 4
    assert [path.stem for path in scene.clouds] == ['0', '40', '80', '120']
    assert len(scene.truth['scannet'].T_i_j) == 6 and not scene.truth['scannet'].information


def test_a_depth_image_is_a_cloud_where_the_field_is(root: Path) -> None:
    """Points of all views, taken to the world by their poses, lie on the field."""
    scene, = scannet_scenes(root)
    assert scene.T_world_fragment is not None
    field = cKDTree(hills(np.random.default_rng(0)))
    for k, (path, pose) in enumerate(zip(scene.clouds, scene.T_world_fragment, strict=True)):
        fragment = read_depth_image(path, k)
        assert fragment.id == k and fragment.points.dtype == np.float32
        distance, _ = field.query(fragment.points @ pose[:3, :3].T + pose[:3, 3])
        assert len(distance) > 10000 and np.percentile(distance, 95) < 0.01


def test_truth_maps_view_j_into_view_i(root: Path) -> None:
    scene, = scannet_scenes(root)
    poses = scene.T_world_fragment
    assert poses is not None
    np.testing.assert_allclose(poses[0] @ scene.truth['scannet'].T_i_j[0, 2], poses[2], atol=1e-9)


def test_evaluate_scores_every_pair_of_views(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / 'out'
    assert main(['evaluate', 'scannet', str(root), '--out', str(out),
                 '--voxel-size', str(VOXEL_SIZE)]) == 0
    printed = capsys.readouterr().out
    assert 'scannet, rotation_deg' in printed and 'pooled, multiview' in printed
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['benchmark'] == 'scannet' and metrics['mean']['rr_multiview'] is None
    assert metrics['mean']['pairs_evaluated'] == 6
    assert metrics['pooled']['rotation_deg']['ecdf']['3'] == 1
    assert metrics['mean']['all_pairs'] == 1


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no scenes there; ROOT must hold SCENE/depth'):
        scannet_scenes(tmp_path)
    write_scene(tmp_path, 'a')
    with pytest.raises(InputError, match="no scene is called 'b'"):
        scannet_scenes(tmp_path, ['b'])
    image = tmp_path / 'a/depth/0.png'
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(InputError, match=r'depth/0\.png: cannot be read'):
        read_depth_image(image, 0)
    o3d.io.write_image(str(image), o3d.geometry.Image(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(InputError, match=r'0\.png: has 3 channels'):
        read_depth_image(image, 0)
    o3d.io.write_image(str(image), o3d.geometry.Image(np.full((4, 4), 7, np.uint8)))
    with pytest.raises(InputError, match=r'0\.png: has 8 bits, a depth image has 16'):
        read_depth_image(image, 0)
    (tmp_path / 'a/pose/40.txt').write_text('1 0 0\n')
    with pytest.raises(InputError, match=r'40\.txt: expected 4 x 4 numbers'):
        scannet_scenes(tmp_path)
    for number in (40, 80, 120):
        (tmp_path / f'a/pose/{number}.txt').write_text(LOST)
    with pytest.raises(InputError, match='has 1 views with a pose'):
        scannet_scenes(tmp_path)
