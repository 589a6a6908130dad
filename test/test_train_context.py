# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stage that learns what keypoints are with those around them, on a hilly field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mvreg_ros.cli import main
from mvreg_ros.features.cylinder_network import CylinderConfig
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.training.config import as_config
from mvreg_ros.training.context import ContextStage, ContextStageConfig, MOST_LEFT
from mvreg_ros.training.foundation import Foundation
from mvreg_ros.training.joint import JointStage, JointStageConfig
from mvreg_ros.training.scenes import read_scenes
from mvreg_ros.weights.files import load_weights, save_weights, Weights
import pytest
from small_scene import VOXEL_SIZE
import torch
from training_scene import write_training_scene
import yaml

SETTINGS: dict[str, Any] = {
    'data': {'train': ['train'], 'validation': ['validation']},
    'loop': {'steps': 3, 'rate': 1e-3, 'log_steps': 1, 'validate_steps': 3, 'device': 'cpu'},
    'weights': 'features.safetensors', 'context': [3.0, 6.0], 'context_hidden': [16],
    'anchors': 60, 'validation_pairs': 2,
}


def exact(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return all distances, free of the rounding of cdist's fast form."""
    return (a[:, None] - b).norm(dim=2)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with scenes and a phi with random weights, beside a random psi_init."""
    path = tmp_path_factory.mktemp('context')
    write_training_scene(path / 'train', 'one')
    write_training_scene(path / 'validation', 'two', seed=1)
    config = LmpcrConfig(
        features='cylinder', voxel_size=VOXEL_SIZE, width=8, clusters=10,
        cylinder=CylinderConfig(radii=(8.0,), hidden=(16,), out_channels=16))
    torch.manual_seed(0)
    tensors = {name: tensor for name, tensor in Lmpcr(config).state_dict().items()
               if name.startswith(('phi.', 'psi_init.'))}
    save_weights(path / 'features.safetensors', tensors, {'config': config.to_json()})
    return path


@pytest.fixture
def folder(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in that folder."""
    monkeypatch.chdir(scenes)
    return scenes


def test_from_settings_to_weights(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """What was there before stays, and the result cannot be refined once more."""
    Path('settings.yaml').write_text(yaml.safe_dump({'descriptor': 'context', **SETTINGS}))
    command = ['train', 'features', '--config', 'settings.yaml', '--out', 'context']
    assert main(command) == 0
    before = load_weights(Path('features.safetensors'))
    after = load_weights(Path('context/weights.safetensors'))
    for name, tensor in before.tensors.items():
        assert torch.equal(after.tensors[name], tensor), name
    assert all(name.startswith('phi.context.') for name in after.tensors.keys() - before.tensors)
    assert after.tensors['phi.context.out.weight'].any()
    assert after.config == replace(before.config, cylinder=replace(
        before.config.cylinder, context=(3.0, 6.0), context_hidden=(16,)))
    capsys.readouterr()
    Path('settings.yaml').write_text(yaml.safe_dump({
        'descriptor': 'context', **SETTINGS, 'weights': 'context/weights.safetensors'}))
    assert main([*command[:-1], 'again']) == 2
    assert 'as they were before this stage' in capsys.readouterr().err


def test_keypoints_of_a_pair_are_the_same_places(folder: Path) -> None:
    """Positives are nearest of all, and what is near them is no other; some are cut down."""
    config = as_config(ContextStageConfig, {**SETTINGS, 'cut': 1.0})
    stage = ContextStage.build(config, folder / 'places')
    generator = torch.Generator().manual_seed(0)
    scene = stage.scenes[0]
    whole = stage.files.read(scene, 0)
    cut = stage.keypoints(scene, 0, generator)
    assert 0 < len(cut.points) <= MOST_LEFT * len(whole.points) + 1
    T = whole.T_world_points.float()
    world = whole.points @ T[:3, :3].T + T[:3, 3]
    assert exact(cut.points, world).amin(1).max() < 1e-4

    def placed(k: int) -> Any:
        found = stage.files.read(scene, k)
        T = found.T_world_points.float()
        return replace(found, points=found.points @ T[:3, :3].T + T[:3, 3])

    i, j = placed(0), placed(1)
    contrast = stage.contrast(i, j, generator)
    assert 10 < len(contrast.anchors) <= 60
    chosen = torch.cdist(contrast.anchors, stage.context.inputs(
        i.points, i.descriptors, VOXEL_SIZE)).argmin(1)
    distance = exact(i.points[chosen], j.points)
    assert torch.equal(distance.argmin(1), contrast.positive)
    assert distance.amin(1).max() < config.positive * VOXEL_SIZE
    apart = exact(j.points[contrast.positive], j.points)
    limit = config.negative * VOXEL_SIZE
    assert (apart[~contrast.same & (apart > 0)] > limit - 1e-3).all()
    assert (apart[contrast.same] < limit + 1e-3).all()


def test_radii_are_needed_and_come_after_phi() -> None:
    with pytest.raises(ValueError, match='nothing to learn'):
        ContextStageConfig(**{**SETTINGS, 'context': ()})
    with pytest.raises(ValueError, match='context must ascend'):
        CylinderConfig(context=(4.0, 2.0))


def test_the_joint_stage_leaves_the_context_out(folder: Path) -> None:
    """It trains phi, and what was learned on phi as it was would not fit the result."""
    config = LmpcrConfig(
        features='cylinder', voxel_size=VOXEL_SIZE, points=120, width=8, clusters=10,
        cylinder=CylinderConfig(context=(3.0, 6.0)))
    torch.manual_seed(0)
    weights = Weights(Lmpcr(config).state_dict(), {'config': config.to_json()})
    assert any(name.startswith('phi.context.') for name in weights.tensors)
    scenes = read_scenes(['train'])
    settings = as_config(JointStageConfig, {
        'data': SETTINGS['data'], 'loop': SETTINGS['loop'], 'weights': 'context.safetensors',
        'points': 120, 'fragments': 3, 'overlap': 0.2, 'iterations': 2, 'validation_graphs': 2})
    JointStage(settings, Foundation(weights, ''), scenes, scenes).save(
        folder / 'joint.safetensors', {})
    after = load_weights(folder / 'joint.safetensors')
    assert after.config.cylinder == replace(config.cylinder, context=())
    assert after.tensors.keys() == {
        name for name in weights.tensors if not name.startswith('phi.context.')}
    assert all(torch.equal(after.tensors[name], weights.tensors[name]) for name in after.tensors)
