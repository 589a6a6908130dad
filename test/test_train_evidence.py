# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stage that learns which evidence makes a pose right, on hilly fields."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
import json
from pathlib import Path
from typing import Any

from fake_processes import process
from mvreg_ros.cli import main
from mvreg_ros.features.cylinder_network import CylinderConfig
from mvreg_ros.features.descriptor import FpfhDescriptor
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.training.config import as_config
from mvreg_ros.training.evidence import EvidenceStage, EvidenceStageConfig
from mvreg_ros.training.evidence_files import compute_poses, described, EvidenceFiles, Labels
from mvreg_ros.training.foundation import with_evidence
from mvreg_ros.training.scenes import read_scenes
from mvreg_ros.weights.files import load_weights, save_weights, Weights
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
import torch
from training_scene import fragments, write_training_scene
import yaml

SETTINGS: dict[str, Any] = {
    'data': {'train': ['train'], 'validation': ['validation']},
    'loop': {'steps': 20, 'rate': 1e-2, 'log_steps': 10, 'validate_steps': 20, 'device': 'cpu'},
    'weights': '~/features.safetensors',
}
CPU = torch.device('cpu')
VOXEL_SIZE = 0.1
LABELS = Labels(rotation=10.0, translation=0.3, across=3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with one scene to train on, one for validation, and random weights of phi."""
    write_training_scene(tmp_path / 'train', 'one')
    write_training_scene(tmp_path / 'validation', 'two', seed=1)
    write_features(tmp_path, 0)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_features(folder: Path, seed: int) -> dict[str, torch.Tensor]:
    """Write and return weights that the stage before might have made."""
    config = LmpcrConfig(
        features='cylinder', voxel_size=VOXEL_SIZE,
        cylinder=CylinderConfig(radii=(8.0, 16.0), hidden=(16,), similarity=0.1))
    torch.manual_seed(seed)
    tensors = {name: tensor for name, tensor in Lmpcr(config).state_dict().items()
               if name.startswith('phi.')}
    save_weights(folder / 'features.safetensors', tensors,
                 {'config': config.to_json(), 'source': f'seed {seed}'})
    return tensors


def test_labels_of_poses_by_brute_force(folder: Path) -> None:
    """Each pose in a scene is compared with the truth; across two scenes none is right."""
    scene, other = read_scenes(['train', 'validation'])
    method = ConsistencyMethod(FpfhDescriptor(VOXEL_SIZE, CPU), VOXEL_SIZE, CPU)
    alone = compute_poses(scene, scene, method, LABELS)
    features = described(method, scene, 1)
    expected = []
    for i, j in combinations(range(len(scene)), 2):
        poses, _ = method.register_pair.poses(0, 1, features[i], features[j])
        truth = np.linalg.inv(scene.poses[i]) @ scene.poses[j]
        for pose in poses:
            if pose.inliers >= method.register_pair.checked_inliers:
                turn = Rotation.from_matrix(pose.T_i_j[:3, :3]) * Rotation.from_matrix(
                    truth[:3, :3]).inv()
                off = np.abs(pose.T_i_j[:3, 3] - truth[:3, 3])
                expected.append(np.degrees(turn.magnitude()) < 10 and np.sqrt(off @ off) < 0.3)
    assert alone['right'].tolist() == [float(right) for right in expected]
    assert 2 < sum(expected) < len(expected)
    both = compute_poses(scene, other, method, LABELS)
    count = len(alone['right'])
    assert len(both['right']) > count
    torch.testing.assert_close(both['evidence'][:count], alone['evidence'])
    assert both['right'][:count].sum() == sum(expected) and not both['right'][count:].any()


def test_processes_share_the_scenes(folder: Path) -> None:
    """The one that comes second registers what the first left."""
    scenes = read_scenes(['train', 'validation'])
    method = ConsistencyMethod(FpfhDescriptor(VOXEL_SIZE, CPU), VOXEL_SIZE, CPU)
    files = EvidenceFiles(folder / 'shared')
    for rank in range(2):
        with process(rank, 2):
            files.compute(scenes, method, replace(LABELS, across=1))
        assert len(list(files.folder.iterdir())) == rank + 1
    evidence, right = files.read(scenes)
    assert len(evidence) == len(right)


def test_from_settings_to_weights_to_a_map(folder: Path) -> None:
    """The file holds phi as it was beside the new confidence; other weights do not go on."""
    Path('settings.yaml').write_text(yaml.safe_dump({'method': 'consistency', **SETTINGS}))
    command = ['train', 'registration', '--config', 'settings.yaml', '--out', 'registration']
    assert main(command) == 0
    weights = load_weights(Path('registration/weights.safetensors'))
    before = load_weights(Path('features.safetensors'))
    for name, tensor in before.tensors.items():
        assert torch.equal(weights.tensors[name], tensor)
    assert {name.split('.')[0] for name in weights.tensors} == {'phi', 'evidence'}
    assert json.loads(weights.metadata['phi'])['source'] == 'seed 0'
    assert int(weights.metadata['poses']) > 10
    registration = MultiviewRegistration.from_pretrained(
        features='cylinder', weights='registration/weights.safetensors', voxel_size=VOXEL_SIZE)
    assert len(registration.register(fragments(1)[0]).poses) == 5


def test_the_weights_are_those_that_the_stage_was_built_with(
    folder: Path, capsys: pytest.CaptureFixture,
) -> None:
    """Another file in the same place is neither saved, nor gone on with, nor mixed up."""
    config = as_config(EvidenceStageConfig, SETTINGS)
    before = load_weights(Path('features.safetensors')).tensors
    stage = EvidenceStage.build(config, Path('registration'))
    Path('settings.yaml').write_text(yaml.safe_dump({'method': 'consistency', **SETTINGS}))
    command = ['train', 'registration', '--config', 'settings.yaml', '--out', 'registration']
    assert main(command) == 0
    cache, = Path('registration').glob('evidence-*')
    assert sorted(path.name for path in cache.iterdir()) == [
        'one+one.safetensors', 'two+two.safetensors']
    write_features(folder, 1)
    stage.save(Path('saved.safetensors'), {'source': 'test'})
    saved = load_weights(Path('saved.safetensors'))
    assert all(torch.equal(saved.tensors[name], tensor) for name, tensor in before.items())
    assert json.loads(saved.metadata['phi'])['source'] == 'seed 0'
    capsys.readouterr()
    assert main(command) == 2
    assert 'was begun with other weights than are in the file now' in capsys.readouterr().err
    assert len(list(Path('registration').glob('evidence-*'))) == 2


def test_stages_that_follow_keep_the_confidence() -> None:
    """What they trained is theirs, and of what was before only the confidence stays."""
    before = Weights({'phi.out.bias': torch.zeros(1), 'evidence.mean': torch.ones(1)}, {})
    after = with_evidence(before, {'phi.out.bias': torch.full((1,), 2.0)})
    assert {name: float(tensor) for name, tensor in after.items()} == {
        'phi.out.bias': 2.0, 'evidence.mean': 1.0}


@pytest.mark.parametrize(('features', 'message'), [
    ('cylinder', 'has no phi: train the features first'),
    ('fcgf', 'holds features fcgf: take weights of descriptor cylinder'),
])
def test_other_weights_are_refused(
    folder: Path, capsys: pytest.CaptureFixture, features: str, message: str,
) -> None:
    config = LmpcrConfig(features=features, width=8, clusters=10)
    part = 'phi.' if features == 'fcgf' else 'psi_init.'
    tensors = {name: tensor for name, tensor in Lmpcr(config).state_dict().items()
               if name.startswith(part)}
    save_weights(folder / 'features.safetensors', tensors, {'config': config.to_json()})
    Path('settings.yaml').write_text(yaml.safe_dump({'method': 'consistency', **SETTINGS}))
    assert main(['train', 'registration', '--config', 'settings.yaml']) == 2
    assert message in capsys.readouterr().err
