# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Configurations of the training, the presets among them, and the scenes that they name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
import re

from mvreg_ros.cli import build_parser
from mvreg_ros.commands.train import stage_class
from mvreg_ros.training.config import as_config, DataConfig, differences, read_yaml
from mvreg_ros.training.fcgf import FcgfStageConfig
from mvreg_ros.training.scenes import (
    counted,
    overlaps,
    read_scenes,
    TEST_SCENES,
    training_scenes,
)
from mvreg_ros.types import InputError
import numpy as np
import pytest
from scipy.spatial import cKDTree
import small_scene
from training_scene import write_training_scene

PRESETS = Path(__file__).parents[1] / 'config' / 'training'
VALUES = {
    'data': {'train': ['a', 'b'], 'validation': ['c']},
    'loop': {'steps': 10, 'rate': 1},
    'network': {'fcgf': {'encoder': [4, 4, 8, 8]}},
}


@pytest.mark.parametrize('preset', sorted(PRESETS.iterdir()), ids=lambda path: path.stem)
def test_presets_can_be_read(preset: Path) -> None:
    values = read_yaml(preset)
    kind = stage_class(preset.stem.split('_')[0], values)
    as_config(kind.Config, values)


def test_values_become_what_the_fields_are() -> None:
    config = as_config(FcgfStageConfig, VALUES)
    assert config.data.train == ('a', 'b')
    assert config.loop.rate == 1.0
    assert isinstance(config.loop.rate, float)
    assert config.network.fcgf.encoder == (4, 4, 8, 8)
    assert config.network.voxel_size == 0.025


@pytest.mark.parametrize(('change', 'message'), [
    ({'posetives': 5}, 'posetives: no such setting, did you mean positives?'),
    ({'loop': {'steps': 1, 'rate': 1.0, 'qq': 2}}, 'loop.qq: no such setting, there are steps,'),
    ({'loop': {'steps': 1}}, 'loop.rate: is missing'),
    ({'loop': {'steps': 1.5, 'rate': 1.0}}, 'loop.steps: must be of type int, not 1.5'),
    ({'loop': {'steps': True, 'rate': 1.0}}, 'loop.steps: must be of type int, not True'),
    ({'loop': {'steps': 1, 'rate': '1e-3'}},
     "loop.rate: must be of type float, not '1e-3', write 1.0e-3 and not 1e-3"),
    ({'loop': {'steps': 0, 'rate': 1.0}}, 'loop.steps must be more than 0'),
    ({'loop': 3}, 'loop: must be of type mapping, not 3'),
    ({'network': {'voxel_size': -1.0}}, 'network.voxel_size must be positive'),
    ({'data': {'train': 'a', 'validation': []}}, "data.train: must be of type list, not 'a'"),
    ({'data': {'train': [1], 'validation': []}}, 'data.train[0]: must be of type str, not 1'),
    ({'network': {'fcgf': {'encoder': [1, 2]}}}, 'network.fcgf.encoder: must have 4 entries'),
])
def test_what_is_wrong_is_said_with_the_cure(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(f'FILE: {message}')):
        as_config(FcgfStageConfig, {**VALUES, **change}, 'FILE: ')


def test_differences_are_named() -> None:
    before = as_config(FcgfStageConfig, {**VALUES, 'loop': {'steps': 9, 'rate': 2.0}})
    now = as_config(FcgfStageConfig, VALUES)
    assert differences(asdict(before), now, {'loop.rate'}) == ['loop.steps was 9 and is 10']


@pytest.mark.parametrize('text', ['- a', '', '{', '\t:', '\0'])
def test_a_file_without_settings_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / 'a.yaml').write_text(text)
    with pytest.raises(InputError, match=r'a\.yaml: '):
        read_yaml(tmp_path / 'a.yaml')


@pytest.mark.parametrize(('stage', 'values', 'message'), [
    ('features', {}, 'descriptor: must be one of cylinder, context, fcgf: got None'),
    ('registration', {'method': 'fpfh'}, 'method: must be one of consistency, lmpcr: got'),
    ('multiview', {'method': 'consistency'}, 'method: must be one of lmpcr: got'),
])
def test_what_cannot_be_trained_is_refused(stage: str, values: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        stage_class(stage, values)


def test_scenes_are_read_with_their_poses(tmp_path: Path) -> None:
    for name in ('a/one', 'b/two', 'b/two_10', 'b/two_9'):
        root, scene = name.split('/')
        write_training_scene(tmp_path / root, scene)
    scenes = read_scenes([f'{tmp_path}/b', f'{tmp_path}/[a]*'])
    assert [scene.name for scene in scenes] == ['two', 'two_9', 'two_10', 'one']
    clouds, poses = small_scene.fragments()
    scene = scenes[0]
    assert counted(scenes) == {'scenes': '4', 'fragments': '20'}
    np.testing.assert_allclose(scene.relative(0, 3), np.linalg.inv(poses[0]) @ poses[3], atol=1e-9)
    np.testing.assert_array_equal(scene.fragment(3).points, clouds[3])


def test_overlap_by_cells_is_near_that_by_points(tmp_path: Path) -> None:
    """Of a hilly field: within a tenth of the share of points that have a near neighbour."""
    write_training_scene(tmp_path, 'hills')
    scene, = read_scenes([str(tmp_path)])
    found = overlaps(scene, 0.1)
    world = [cloud @ T[:3, :3].T + T[:3, 3]
             for cloud, T in zip(*small_scene.fragments(), strict=True)]
    for (i, j), overlap in found.items():
        distance, _ = cKDTree(world[i]).query(world[j])
        assert overlap == pytest.approx((distance < 0.05).mean(), abs=0.1)


def test_broken_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='holds no fragments/SCENE'):
        read_scenes([str(tmp_path)])
    with pytest.raises(InputError, match='holds no fragments/SCENE'):
        read_scenes([f'{tmp_path}/none*'])
    with pytest.raises(InputError, match=r'data\.train and data\.validation: an empty list'):
        read_scenes([])
    write_training_scene(tmp_path / 'a', 'one')
    write_training_scene(tmp_path / 'b', 'one')
    pose = tmp_path / 'a/fragments/one/cloud_bin_3.info.txt'
    transposed = 'one\n1 0 0 0\n0 1 0 0\n0 0 1 0\n2 3 4 1\n'
    for text in ('', 'one\n1 0 0\n', 'one\n' + '1 0 0 0\n' * 4, 'x\n' + 'nan 0 0 0\n' * 4,
                 transposed):
        pose.write_text(text)
        with pytest.raises(InputError, match=r'cloud_bin_3.info.txt:.*expected'):
            read_scenes([f'{tmp_path}/a'])
    pose.unlink()
    with pytest.raises(InputError, match=r'cloud_bin_3.info.txt: cannot be read'):
        read_scenes([f'{tmp_path}/a'])
    for k in range(4):
        (tmp_path / f'b/fragments/one/cloud_bin_{k}.ply').unlink()
    with pytest.raises(InputError, match='holds 1 fragments, two are needed'):
        read_scenes([f'{tmp_path}/b'])


def test_no_scene_is_there_twice(tmp_path: Path) -> None:
    """Neither by its name nor by its files, in one list or in both."""
    for root, name in (('a', 'one'), ('b', 'one'), ('c', 'two')):
        write_training_scene(tmp_path / root, name)
    linked = tmp_path / 'd/fragments/three'
    linked.parent.mkdir(parents=True)
    linked.symlink_to(tmp_path / 'a/fragments/one')
    a, b, c, d = (f'{tmp_path}/{root}' for root in 'abcd')
    train, validation = training_scenes(DataConfig((a,), (c,)))
    assert [scene.name for scene in train + validation] == ['one', 'two']
    for data in (DataConfig((a,), (a,)), DataConfig((a,), (c, b)), DataConfig((a, b), (c,)),
                 DataConfig((a,), (c, d))):
        with pytest.raises(InputError, match=r'has the name or the files of .*/a/fragments/one, '):
            training_scenes(data)


@pytest.mark.parametrize('name', sorted(TEST_SCENES))
def test_the_test_set_is_never_trained_on(tmp_path: Path, name: str) -> None:
    write_training_scene(tmp_path, name)
    with pytest.raises(InputError, match='test set of 3DMatch: evaluate on it, never train'):
        read_scenes([str(tmp_path)])


def documented_commands() -> list[list[str]]:
    """Return the words after `mvreg` of each command in docs/training.md."""
    lines = (PRESETS.parents[1] / 'docs' / 'training.md').read_text().splitlines()
    return [re.split(r'mvreg(?:_ros\.cli)? ', line, maxsplit=1)[1].split() for line in lines
            if re.match(r'(mvreg|torchrun .* -m mvreg_ros\.cli) ', line)]


def test_the_commands_of_the_documentation_are_understood() -> None:
    """Each `mvreg` in docs/training.md parses, and its settings exist."""
    commands = documented_commands()
    assert len(commands) == 13
    for command in commands:
        args = build_parser().parse_args(command)
        if args.command == 'train':
            assert PRESETS.parents[1].joinpath(args.config).is_file()


def test_the_commands_of_the_documentation_need_what_others_made_before() -> None:
    """Weights and flats of each preset were written by an earlier command."""
    made: set[str] = set()
    trained = set()
    for command in documented_commands():
        args = build_parser().parse_args(command)
        if args.command == 'simulate':
            made.add(str(args.out))
            continue
        values = read_yaml(PRESETS.parents[1] / args.config)
        needed = {values['weights']} if 'weights' in values else set()
        if args.config.stem.endswith('_cpu'):
            needed |= {*values['data']['train'], *values['data']['validation']}
        assert needed <= made, args.config
        made.add(f'runs/{args.config.stem}/weights.safetensors')
        trained.add(args.config.stem)
    assert trained == {path.stem for path in PRESETS.iterdir()} - {'features_fcgf_cpu'}
