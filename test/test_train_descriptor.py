# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The descriptor's stage on a hilly field: its inputs, its labels, its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_processes import process
from mvreg_ros.cli import main
from mvreg_ros.features.cylinder_network import CylinderConfig
from mvreg_ros.features.descriptor import FpfhDescriptor
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.training.config import as_config
from mvreg_ros.training.descriptor import DescriptorStage, DescriptorStageConfig
from mvreg_ros.training.disturbance import depth_errors, disturbed_points, LARGEST_LOSS
from mvreg_ros.training.feature_files import FeatureFiles
from mvreg_ros.training.scenes import read_scenes
from mvreg_ros.training.surroundings import KEPT_SHARE, SurroundingsFiles
from mvreg_ros.types import Fragment, InputError
from mvreg_ros.weights.files import load_weights
import numpy as np
import pytest
from scipy.spatial import cKDTree
from small_scene import VOXEL_SIZE
import torch
from training_scene import fragments, write_training_scene
import yaml

SETTINGS: dict[str, Any] = {
    'data': {'train': ['train'], 'validation': ['validation']},
    'loop': {'steps': 3, 'rate': 1e-3, 'log_steps': 1, 'validate_steps': 3, 'device': 'cpu'},
    'network': {'features': 'cylinder', 'voxel_size': VOXEL_SIZE, 'cylinder': {
        'radii': [8.0, 16.0], 'hidden': [16], 'out_channels': 16}},
    'anchors': 60, 'normals': 0.99, 'validation_pairs': 2,
}
FARTHEST_ERROR = 6 * 0.004 * 2.5**2  # six deviations at the farthest range


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one scene to train on and one for validation."""
    path = tmp_path_factory.mktemp('descriptor')
    write_training_scene(path / 'train', 'one')
    write_training_scene(path / 'validation', 'two', seed=1)
    return path


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder."""
    monkeypatch.chdir(folder)
    return folder


def cloud_at(low: float, high: float) -> Fragment:
    """Return points in all directions from a sensor, from `low` to `high` metres away."""
    rng = np.random.default_rng(0)
    sight = rng.normal(size=(4000, 3))
    sight *= rng.uniform(low, high, (4000, 1)) / np.linalg.norm(sight, axis=1, keepdims=True)
    origin = np.array([0.3, -0.2, 0.5], np.float32)
    return Fragment((sight + origin).astype(np.float32), sensor_origin=origin)


def test_errors_of_depth_are_along_the_line_of_sight() -> None:
    """And grow with the square of the range; in another unit everything is the same."""
    cloud = cloud_at(0.8, 2.4)
    sight = cloud.points - cloud.sensor_origin
    errors = [depth_errors(cloud, np.random.default_rng(seed), 1.0) for seed in range(20)]
    for error in errors:
        np.testing.assert_allclose(np.cross(error, sight), 0, atol=1e-6)
        assert 0 < np.abs(error).max() < FARTHEST_ERROR
    size = np.sqrt(np.mean(np.square(errors), 0).sum(1))
    slope, _ = np.polyfit(np.log(np.linalg.norm(sight, axis=1)), np.log(size), 1)
    assert slope == pytest.approx(2, abs=0.1)
    twice = replace(cloud, points=2 * cloud.points, sensor_origin=2 * cloud.sensor_origin)
    np.testing.assert_allclose(
        depth_errors(twice, np.random.default_rng(3), 2.0), 2 * errors[3], atol=1e-9)


def test_disturbed_points_stay_near_and_some_are_lost() -> None:
    """Half of the fragments lose points, and none too many."""
    cloud, counts = cloud_at(1.0, 1.2), []
    tree = cKDTree(cloud.points)
    for seed in range(40):
        points = disturbed_points(cloud, np.random.default_rng(seed), 0.025)
        distance, _ = tree.query(points)
        assert 0 < distance.max() < 6 * (0.004 * 1.2**2 + np.sqrt(3) * 0.002)
        counts.append(len(points) / len(cloud.points))
    assert 10 <= sum(share < 1 for share in counts) <= 30
    assert 1 - LARGEST_LOSS - 0.02 < min(counts) < 0.8


def test_processes_share_the_surroundings_and_each_size_has_its_own(there: Path) -> None:
    """The one that comes second computes what the first left; then nothing is missing."""
    scenes = read_scenes(['train', 'validation'])
    config = CylinderConfig(radii=(8.0,))
    files = SurroundingsFiles(there / 'shared', config, VOXEL_SIZE)
    for rank, count in ((0, 5), (1, 10)):
        with process(rank, 2):
            files.compute(scenes, 1)
        assert len(list(files.folder.iterdir())) == count
    assert all(files.path(scene, k).exists() for scene in scenes for k in range(len(scene)))
    others = [SurroundingsFiles(there / 'shared', *other).folder for other in (
        (replace(config, radii=(9.0,)), VOXEL_SIZE), (config, 2 * VOXEL_SIZE))]
    assert len({files.folder, *others}) == 3
    assert SurroundingsFiles(there / 'shared', config, VOXEL_SIZE).folder == files.folder


def test_processes_share_the_features(there: Path) -> None:
    """As above, for what the registration blocks learn from."""
    scenes = read_scenes(['train'])
    files = FeatureFiles(there / 'features_shared')
    for rank, count in ((0, 3), (1, 5)):
        with process(rank, 2):
            files.compute(scenes, FpfhDescriptor(0.2, torch.device('cpu')), 0.2, False, 1)
        assert len(list(files.folder.rglob('*.safetensors'))) == count


def test_surroundings_are_of_the_same_places_of_the_world(there: Path) -> None:
    """On the field, facing the sky, and where one fragment has some the next has them too."""
    scene, = read_scenes(['train'])
    files = SurroundingsFiles(there / 'places', CylinderConfig(radii=(8.0,)), VOXEL_SIZE)
    files.compute([scene], 1)
    clouds = [scene.fragment(k).points @ T[:3, :3].T + T[:3, 3]
              for k, T in enumerate(scene.poses)]
    found = [files.read(scene, k) for k in range(len(scene))]
    for cloud, keypoints in zip(clouds, found, strict=True):
        assert keypoints.inputs.shape == (len(keypoints.world), files.config.in_channels)
        assert cKDTree(cloud).query(keypoints.world)[0].max() < 2 * VOXEL_SIZE
        np.testing.assert_allclose(keypoints.normals.norm(dim=1), 1, atol=1e-4)
        assert (keypoints.normals[:, 2] > 0).float().mean() > 0.9
    distance, _ = cKDTree(found[1].world).query(found[0].world)
    common = cKDTree(clouds[1]).query(found[0].world)[0] < VOXEL_SIZE / 2
    assert common.sum() > 50
    # Places chosen apart would be found again as often as they are chosen.
    assert (distance[common] < 2 * VOXEL_SIZE).mean() > KEPT_SHARE + 0.3


def test_labels_of_the_contrast_by_brute_force(there: Path) -> None:
    """Anchors have one right candidate; what lies near that one is no other."""
    stage = DescriptorStage.build(as_config(DescriptorStageConfig, SETTINGS), there)
    scene = stage.scenes[0]
    i, j = stage.files.read(scene, 0), stage.files.read(scene, 1)
    found = stage.contrast(i, j, torch.Generator().manual_seed(0))
    apart = torch.cdist(i.world, j.world)
    distance, nearest = apart.min(1)
    cosines = (i.normals * j.normals[nearest]).sum(1)
    close = distance < 2 * VOXEL_SIZE
    right = {row: int(nearest[row]) for row in range(len(apart))
             if close[row] and cosines[row] > 0.99}
    assert 60 < len(right) < int(close.sum()), 'the normals leave some out'
    assert len(found.anchors) == len(found.positive) == 60
    rows = [int((i.inputs == anchor).all(1).nonzero()) for anchor in found.anchors]
    assert len({*rows}) == 60
    assert [right[row] for row in rows] == found.positive.tolist()
    assert torch.equal(found.candidates, j.inputs)
    for same, positive in zip(found.same, found.positive, strict=True):
        near = torch.cdist(j.world[positive][None], j.world)[0] < 8 * VOXEL_SIZE
        near[positive] = False
        assert torch.equal(same, near) and near.any()


def test_from_settings_to_weights_to_a_map(
    there: Path, capsys: pytest.CaptureFixture,
) -> None:
    Path('settings.yaml').write_text(yaml.safe_dump({'descriptor': 'cylinder', **SETTINGS}))
    assert main(['train', 'features', '--config', 'settings.yaml', '--out', 'features']) == 0
    assert 'wrote features/weights.safetensors, mutual_inlier_ratio' in capsys.readouterr().out
    weights = load_weights(Path('features/weights.safetensors'))
    assert {name.split('.')[0] for name in weights.tensors} == {'phi'}
    assert weights.config.cylinder.radii == (8.0, 16.0)
    assert float(weights.metadata['mutual_inlier_ratio']) > 0.05
    registration = MultiviewRegistration.from_pretrained(
        features='cylinder', weights='features/weights.safetensors', voxel_size=VOXEL_SIZE)
    clouds, poses = fragments(1)
    result = registration.register(clouds)
    assert result.placed.all() and result.component.max() == 0
    relative = result.relative(0, 4)
    assert relative is not None
    np.testing.assert_allclose(relative, np.linalg.inv(poses[0]) @ poses[4], atol=VOXEL_SIZE)


@pytest.mark.parametrize(('change', 'message'), [
    ({'positive': 1e-6}, 'in 100 pairs no keypoint was found again: set positive higher'),
    ({'network': {**SETTINGS['network'], 'cylinder': {
        'radii': [8.0], 'hidden': [16], 'out_channels': 1000}}},
     'too few for 1000 network.cylinder.out_channels: give more scenes, or set less'),
])
def test_what_cannot_be_learnt_is_said(there: Path, change: dict, message: str) -> None:
    config = as_config(DescriptorStageConfig, {**SETTINGS, **change})
    with pytest.raises(InputError, match=message):
        DescriptorStage.build(config, there).draw(0, torch.Generator().manual_seed(0))
