# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg train` on a hilly field: each stage from its settings to weights that can be loaded."""

from __future__ import annotations

import csv
from pathlib import Path
import signal

from mvreg_ros.cli import main
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.training.config import as_config
from mvreg_ros.training.fcgf import FcgfStage, FcgfStageConfig
from mvreg_ros.training.foundation import Foundation
from mvreg_ros.training.joint import JointStage, JointStageConfig
from mvreg_ros.training.loop import compute_in_bfloat16
from mvreg_ros.training.losses import PARTS
from mvreg_ros.training.registration import (
    PairBatch,
    RegistrationStage,
    RegistrationStageConfig,
)
from mvreg_ros.training.scenes import read_scenes
from mvreg_ros.training.stage import Stage
from mvreg_ros.weights.files import load_weights, save_weights, Weights
import numpy as np
import pytest
from scipy.spatial import cKDTree
import torch
from training_scene import write_training_scene
import yaml

DATA = {'train': ['train'], 'validation': ['validation']}
LOOP = {'steps': 3, 'rate': 1e-3, 'log_steps': 1, 'validate_steps': 2, 'device': 'cpu'}
NETWORK = {
    'voxel_size': 0.15, 'points': 200, 'width': 8, 'clusters': 10,
    'fcgf': {'encoder': [4, 4, 8, 8], 'decoder': [4, 4, 8, 8], 'out_channels': 8,
             'conv1_kernel_size': 3},
}
FCGF = {'data': DATA, 'loop': LOOP, 'network': NETWORK, 'pairs': 2, 'overlap': 0.2,
        'validation_pairs': 3}
REGISTRATION = {
    'data': DATA, 'loop': LOOP, 'weights': 'features/weights.safetensors', 'points': 150,
    'width': 8, 'clusters': 10, 'pairs': 2, 'late': 2, 'turn_start': 1, 'turn_steps': 0,
    'others': 0.5, 'validation_pairs': 3,
}
MULTIVIEW = {
    'data': DATA, 'loop': LOOP, 'weights': 'registration/weights.safetensors', 'points': 120,
    'fragments': 3, 'overlap': 0.2, 'iterations': 2, 'validation_graphs': 2,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with one scene to train on and one for validation."""
    write_training_scene(tmp_path / 'train', 'one')
    write_training_scene(tmp_path / 'validation', 'two', seed=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(stage: str, settings: dict) -> None:
    """Run the command."""
    Path('settings.yaml').write_text(yaml.safe_dump(settings))
    assert main(['train', stage, '--config', 'settings.yaml', '--out', stage]) == 0


def write_weights(folder: str, parts: tuple[str, ...]) -> None:
    """Write random weights of some parts, as the stage before would."""
    config = as_config(LmpcrConfig, NETWORK)
    torch.manual_seed(1)
    tensors = {name: tensor for name, tensor in Lmpcr(config).state_dict().items()
               if name.split('.')[0] in parts}
    Path(folder).mkdir()
    save_weights(Path(folder, 'weights.safetensors'), tensors,
                 {'config': config.to_json(), 'source': 'random'})


def rows(path: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with Path(path).open(newline='') as file:
        return list(csv.DictReader(file))


def test_features_from_settings_to_weights(
    folder: Path, capsys: pytest.CaptureFixture,
) -> None:
    train('features', {'descriptor': 'fcgf', **FCGF})
    assert 'wrote features/weights.safetensors, mutual_inlier_ratio' in capsys.readouterr().out
    weights = load_weights(Path('features/weights.safetensors'))
    assert all(name.startswith('phi.') for name in weights.tensors)
    assert weights.config.voxel_size == 0.15
    assert weights.metadata['source'] == 'mvreg train features'
    assert weights.metadata['fragments'] == '5'
    assert yaml.safe_load(weights.metadata['training'])['pairs'] == 2
    assert len(rows('features/losses.csv')) == 3
    assert [row['step'] for row in rows('features/validation.csv')] == ['2', '3']
    assert main(['train', 'features', '--config', 'settings.yaml', '--out', 'features']) == 0
    assert 'going on after step 3' in capsys.readouterr().out


def test_a_feature_pair_is_what_it_says(folder: Path) -> None:
    """Scans are world points turned; positives are nearest neighbours by brute force."""
    stage = FcgfStage.build(as_config(FcgfStageConfig, {**FCGF, 'crop': 1.2}), folder)
    first, second = stage.draw(0, torch.Generator().manual_seed(3))
    assert not torch.equal(first.positives[:10], second.positives[:10])
    for scan, world in zip(first.scans, first.world, strict=True):
        sides = [torch.cdist(x.double(), x.double()) for x in (scan, world)]
        torch.testing.assert_close(*sides, atol=1e-5, rtol=0)
        assert torch.cdist(world, world).max() < 2 * 1.2
        assert not torch.allclose(scan - scan.mean(0), world - world.mean(0), atol=0.1)
    distance = torch.cdist(*first.world)
    i, j = first.positives.T
    assert (distance[i, j] < stage.labels.positive).all()
    assert torch.equal(distance[i].argmin(1), j)
    assert len(i) == int((distance.amin(1) < stage.labels.positive).sum())
    again, _ = stage.draw(0, torch.Generator().manual_seed(3))
    assert torch.equal(again.scans[0], first.scans[0])


def test_registration_from_features_to_a_whole_network(folder: Path) -> None:
    """Every block learns, the features do not; the file serves method lmpcr."""
    write_weights('features', ('phi',))
    train('registration', {'method': 'lmpcr', **REGISTRATION})
    before = load_weights(Path('features/weights.safetensors'))
    after = load_weights(Path('registration/weights.safetensors'))
    torch.manual_seed(0)
    random = Lmpcr(after.config).state_dict()
    for name, tensor in after.tensors.items():
        if name.startswith('phi.'):
            assert torch.equal(tensor, before.tensors[name]), name
        elif tensor.dim() > 1:
            assert not torch.equal(tensor, random[name]), name
    assert (after.config.points, after.config.width) == (150, 8)
    assert yaml.safe_load(after.metadata['phi'])['source'] == 'random'
    columns = rows('registration/losses.csv')
    for row in columns:
        parts = [float(row[name]) for name in ('classification', 'transformation', 'confidence')]
        expected = sum(parts) if int(row['step']) > 2 else parts[0]
        assert float(row['loss']) == pytest.approx(expected)
    clouds = [str(path) for path in sorted(folder.glob('validation/fragments/two/*.ply'))]
    assert main(['register', *clouds, '--method', 'lmpcr', '--features', 'fcgf', '--voxel-size',
                 '0.15', '--no-refine', '--weights', 'registration/weights.safetensors',
                 '--out', 'result']) == 0


def test_the_joint_stage_improves_every_part(folder: Path) -> None:
    """But the statistics of batch norms stay."""
    write_weights('registration', ('phi', 'psi_init', 'psi_iter', 'zeta', 'beta', 'matching'))
    train('multiview', {'method': 'lmpcr', **MULTIVIEW})
    before = load_weights(Path('registration/weights.safetensors'))
    after = load_weights(Path('multiview/weights.safetensors'))
    for name, tensor in after.tensors.items():
        if tensor.dim() > 1 or name in ('beta', 'matching.temperature'):
            assert not torch.equal(tensor, before.tensors[name]), name
        if 'running' in name:
            assert torch.equal(tensor, before.tensors[name]), name
    assert yaml.safe_load(after.metadata['before'])['source'] == 'random'
    for row in rows('multiview/losses.csv'):
        parts = [float(row[name]) for name in PARTS]
        assert all(np.isfinite(parts))
        assert float(row['loss']) == pytest.approx(sum(parts), rel=1e-5)


@pytest.mark.parametrize(('stage', 'settings', 'parts', 'message'), [
    ('registration', REGISTRATION, ('psi_init',), 'has no phi: train the features first'),
    ('multiview', MULTIVIEW, ('phi',), 'has no psi_init and no psi_iter: train the features'),
])
def test_each_stage_needs_the_one_before(
    folder: Path, capsys: pytest.CaptureFixture, stage: str, settings: dict,
    parts: tuple[str, ...], message: str,
) -> None:
    write_weights('before', parts)
    Path('settings.yaml').write_text(yaml.safe_dump(
        {'method': 'lmpcr', **settings, 'weights': 'before/weights.safetensors'}))
    assert main(['train', stage, '--config', 'settings.yaml']) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('features', ['fcgf', 'cylinder'])
def test_graphs_hang_together_with_their_truth(folder: Path, features: str) -> None:
    """The truth brings all scans into one world; each point has a descriptor."""
    config = LmpcrConfig(voxel_size=0.15, points=120, width=8, clusters=10, features=features)
    torch.manual_seed(0)
    weights = Weights(Lmpcr(config).state_dict(), {'config': config.to_json()})
    scenes = read_scenes(DATA['train'])
    foundation = Foundation(weights, '')
    stage = JointStage(as_config(JointStageConfig, MULTIVIEW), foundation, scenes, scenes)
    graph = stage.draw(0, torch.Generator().manual_seed(0))
    tree = cKDTree(np.concatenate([
        scenes[0].fragment(k).points @ T[:3, :3].T + T[:3, 3]
        for k, T in enumerate(scenes[0].poses)]))
    assert len(graph.scans) == 3
    # Keypoints of the cylinders are not points themselves, but means of some.
    tolerance = 1e-4 if features == 'fcgf' else config.voxel_size
    for placed in graph.objective.world:
        assert tree.query(placed.numpy())[0].max() < tolerance
    with torch.no_grad():
        output = stage.output(graph, torch.Generator().manual_seed(0))
    assert [len(d) for d in output.descriptors] == [len(scan) for scan in graph.scans]
    assert output.gamma.mask.shape == (3, 120)


def test_pairs_are_turned_with_their_truth(folder: Path) -> None:
    """Whatever the turn, the truth brings the same keypoints together."""
    write_weights('features', ('phi',))
    stage = RegistrationStage.build(as_config(RegistrationStageConfig, REGISTRATION), folder)
    generator = torch.Generator().manual_seed(1)
    still, turned = stage.draw(0, generator), stage.draw(1, generator)
    assert (still.late, turned.late) == (False, False)
    assert stage.draw(2, generator).late
    world = {}
    for batch in (still, turned):
        for (i, j), truth in zip(batch.keypoints, batch.truth, strict=True):
            T = truth[:3, :3], truth[:3, 3]
            there = i.T_world_points.float()
            for points in (i.points, j.points @ T[0].T + T[1]):
                placed = points @ there[:3, :3].T + there[:3, 3]
                world[len(world)] = placed
            back = j.points @ j.T_world_points[:3, :3].T.float() + j.T_world_points[:3, 3].float()
            torch.testing.assert_close(world[len(world) - 1], back, atol=1e-4, rtol=0)
    scene = stage.scenes[0]
    R = torch.from_numpy(scene.poses[:, :3, :3]).float()

    def is_still(batch: PairBatch) -> bool:
        return all(((k.T_world_points[:3, :3].float() - R).abs().amax((1, 2)) < 1e-5).any()
                   for pair in batch.keypoints for k in pair)

    assert is_still(still)
    assert not is_still(turned)


def test_the_turns_of_the_paper() -> None:
    """None before the 25000th step, then 20 degrees more every 5000 steps."""
    config = as_config(RegistrationStageConfig, {
        'data': DATA, 'loop': LOOP, 'weights': '', 'turn_start': 25000, 'turn_steps': 5000})
    found = [np.degrees(config.max_turn(step)) for step in (0, 24999, 25000, 30000, 10**6)]
    assert found == pytest.approx([0, 0, 20, 40, 360])


def test_networks_in_bfloat16_and_nothing_else(folder: Path) -> None:
    """Losses stay in single precision and near what they are; every parameter has a gradient."""
    write_weights('features', ('phi',))
    write_weights('registration', ('phi', 'psi_init', 'psi_iter', 'zeta', 'beta', 'matching'))
    stages: list[Stage] = [
        FcgfStage.build(as_config(FcgfStageConfig, FCGF), folder),
        RegistrationStage.build(as_config(RegistrationStageConfig, REGISTRATION), folder),
        JointStage.build(as_config(JointStageConfig, MULTIVIEW), folder),
    ]
    for stage in stages:
        stage.train()
        batch = stage.draw(5, torch.Generator().manual_seed(0))
        torch.manual_seed(0)
        exact = stage(batch)
        compute_in_bfloat16(stage.networks(), 'cpu')
        torch.manual_seed(0)
        rounded = stage(batch)
        rounded['loss'].backward()
        for name, loss in rounded.items():
            assert loss.dtype == torch.float32, name
            if name in ('classification', 'confidence'):
                assert loss.item() == pytest.approx(exact[name].item(), rel=0.2), name
        assert rounded['loss'].item() != exact['loss'].item()
        assert all(p.grad is not None for p in stage.parameters() if p.requires_grad)


def test_what_cannot_be_trained_is_one_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for change, message in (
        ({}, 'descriptor: must be one of cylinder, context, fcgf: got None'),
        ({'descriptor': 'fcgf', 'overlap': 1.5}, 'no two fragments of 1 scenes share more'),
        ({'descriptor': 'fcgf', 'data': {**DATA, 'train': ['none']}}, 'none: holds no fragments'),
        ({'descriptor': 'fcgf', 'lop': 1}, 'settings.yaml: lop: no such setting, did you mean'),
    ):
        Path('settings.yaml').write_text(yaml.safe_dump({**FCGF, **change}))
        assert main(['train', 'features', '--config', 'settings.yaml']) == 2
        error, = capsys.readouterr().err.splitlines()
        assert message in error


def test_interrupted_it_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:
    """SIGTERM while a batch is drawn: the last line says how to go on, and the command does."""
    draw = FcgfStage.draw

    def interrupted(self: FcgfStage, step: int, generator: torch.Generator) -> list:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return draw(self, step, generator)

    Path('settings.yaml').write_text(yaml.safe_dump({'descriptor': 'fcgf', **FCGF}))
    command = ['train', 'features', '--config', 'settings.yaml']
    with monkeypatch.context() as patch:
        patch.setattr(FcgfStage, 'draw', interrupted)
        assert main(command) == 143
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == 'mvreg: interrupted, the same command goes on from runs/settings'
    assert main(command) == 0
    assert 'going on after step 2' in capsys.readouterr().out
