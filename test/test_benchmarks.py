# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run on a small scene, and their variants are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import sys

from benchmarks import accuracy, confidence, figures, peers
from benchmarks.columns import accuracy_cells, HEADINGS, markdown
from benchmarks.described import describe_scene
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.calibration import Outcomes
from mvreg_ros.evaluation.run import synchronize_scene
from mvreg_ros.methods.learned import LearnedMethod
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import Fragment, no_progress
import numpy as np
import pytest
from scipy.special import expit, logit
from small_scene import fragments, write_scene
from tiny_network import write_weights

VOXEL_SIZE = 0.15


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small scene that both lists of pairs know."""
    folder = tmp_path_factory.mktemp('root')
    write_scene(folder, 'field')
    _, poses = fragments()
    for k, pose in enumerate(poses):
        np.savetxt(folder / f'fragments/field/cloud_bin_{k}.info.txt', pose, header='field seq-01')
    (folder / 'benchmarks/3DLoMatch').mkdir()
    (folder / 'benchmarks/3DLoMatch/field').symlink_to(folder / 'benchmarks/3DMatch/field')
    return folder


def test_a_markdown_table() -> None:
    assert markdown(('a', 'b'), {'x': ['1']}) == '| a | b |\n| --- | --- |\n| x | 1 |\n'


def test_the_peers_find_the_pairs_of_an_easy_scene() -> None:
    clouds, truth = fragments()
    given = [Fragment(cloud, id=k) for k, cloud in enumerate(clouds[:3])]
    found = accuracy.peer_registrations(given, no_progress)
    assert {name.split(',')[0] for name in found} == {f'FPFH + {n}' for n in peers.estimators()}
    for name, (registration, pairs) in found.items():
        assert list(pairs.estimates) == [(0, 1), (0, 2), (1, 2)]
        error = np.linalg.inv(truth[0]) @ truth[1] - pairs.estimates[0, 1]
        assert np.abs(error[:3, 3]).max() < 0.1, name
        assert registration.relative(0, 1) is not None
        assert set(registration.seconds) == {'features', 'pairs', 'synchronization'}


@pytest.fixture(scope='module')
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> MultiviewRegistration:
    """Return method lmpcr with random weights."""
    path = tmp_path_factory.mktemp('weights') / 'tiny.safetensors'
    write_weights(path, VOXEL_SIZE)
    return MultiviewRegistration.from_pretrained(
        method='lmpcr', features='fcgf', weights=str(path), voxel_size=VOXEL_SIZE,
        min_confidence=figures.TAU, refine=False)


@pytest.mark.parametrize('rounds', [1, 4])
def test_the_shipped_variant_is_what_the_method_does(
    root: Path, pipeline: MultiviewRegistration, rounds: int,
) -> None:
    """Pruned by c_local, with the harmonic mean; what other rows computed changes nothing."""
    method = pipeline.method
    assert isinstance(method, LearnedMethod)
    scene, = cloud_scenes(root, '3dmatch')
    described = describe_scene(scene, pipeline, no_progress)
    gamma = method.correspondences(described.features, no_progress)
    passes = figures.FirstPasses()
    graphs = [
        figures.solve(method, gamma, scene.count, variant, passes.around(
            method.in_batches(1 + variant.rounds, no_progress)))
        for variant in (figures.Variant(1, 'none', weights='global'), figures.Variant(rounds))]
    alone = figures.solve(
        method, gamma, scene.count, figures.Variant(rounds),
        method.in_batches(1 + rounds, no_progress))
    np.testing.assert_array_equal(graphs[1].poses, alone.poses)
    np.testing.assert_array_equal(graphs[1].edges.T_i_j, alone.edges.T_i_j)
    if rounds == 4:
        result = pipeline.register([Fragment(f.points) for f in described.fragments])
        np.testing.assert_allclose(alone.edges.confidence, result.edges.confidence, atol=1e-6)
        np.testing.assert_array_equal(alone.edges.verdict, result.edges.verdict)


@pytest.mark.parametrize('figure', ['4', '7', '8', '9', 'refinement'])
def test_every_figure_has_its_table(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: str,
) -> None:
    write_weights(tmp_path / 'tiny.safetensors', VOXEL_SIZE)
    monkeypatch.setattr(sys, 'argv', [
        'figures', str(root), '--figure', figure, '--rounds', '1', '--voxel-size', str(VOXEL_SIZE),
        '--features', 'fcgf', '--weights', str(tmp_path / 'tiny.safetensors'),
        '--out', str(tmp_path / 'figure.md')])
    figures.main()
    text = (tmp_path / 'figure.md').read_text()
    lines = [line for line in text.splitlines() if line.startswith('|')]
    assert [line.split('|')[1].strip() for line in lines[2:]] == list(figures.variants(figure, 1))
    assert len({line.count('|') for line in lines}) == 1


def test_a_list_that_no_scene_has_is_a_dash_in_the_table(root: Path) -> None:
    scene, = cloud_scenes(root, '3dmatch')
    truth = scene.truth['3dmatch']
    lists = ({'3dmatch': truth, '3dlomatch': truth}, {'3dmatch': truth}, {'3dlomatch': truth})
    rows = [accuracy_cells([synchronize_scene(
        replace(scene, truth=each, estimates=truth.T_i_j), 0.85)]) for each in lists]
    both = rows[0]
    assert len(both) == len(HEADINGS) and '-' not in both
    assert rows[1] == [*both[:2], '-', '-', *both[4:]]
    assert rows[2] == ['-', '-', *both[2:]]


def test_settings_are_parameters() -> None:
    assert accuracy.settings('features=fpfh,voxel_size=0.05,refine=false') == {
        'features': 'fpfh', 'voxel_size': 0.05, 'refine': False}


def test_the_fitted_curve_is_the_one_that_outcomes_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    claimed = rng.uniform(0.01, 0.99, 100000)
    honest = expit(0.5 * logit(claimed) - 1)
    outcomes = Outcomes(claimed, rng.uniform(size=len(honest)) < honest)
    a, b = confidence.platt(outcomes)
    assert (a, b) == (pytest.approx(0.5, abs=0.02), pytest.approx(-1, abs=0.02))
    np.testing.assert_allclose(
        confidence.fitted(outcomes, 0.5, -1.0).confidence, honest, atol=1e-9)


def test_a_mixed_session_has_no_right_edge_between_its_scenes(root: Path) -> None:
    scene, = cloud_scenes(root, '3dmatch')
    both = confidence.mixed(scene, scene)
    assert both.count == len(both.clouds) == 6 and both.T_world_fragment is not None
    np.testing.assert_array_equal(
        both.T_world_fragment[3:, 0, 3], both.T_world_fragment[:3, 0, 3] + confidence.APART)


def test_confidences_are_reported(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten edges of an easy scene, once to fit the curve to and once to try it."""
    out = tmp_path / 'confidence.md'
    monkeypatch.setattr(sys, 'argv', [
        'confidence', str(root), '--test', str(root), '--features', 'fpfh', '--voxel-size', '0.06',
        '--out', str(out)])
    confidence.main()
    lines = out.read_text().splitlines()
    rows = [line.split(' | ') for line in lines if line.startswith(('| validation', '| test'))]
    assert [row[0] for row in rows] == [
        '| validation, c_local', '| test, c_local', '| validation, Eq. 15', '| test, Eq. 15']
    assert all(row[1] == '10' and row[8] == '1.000' for row in rows)
    assert sum(line.startswith('| 0.') for line in lines) == 10
    assert any(line.startswith('Eq. 15 fitted: sigmoid(') for line in lines)
