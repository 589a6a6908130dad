# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run on a small scene, and their variants are what they say."""

from __future__ import annotations

from pathlib import Path
import sys

from benchmarks import accuracy, figures, peers
from benchmarks.columns import markdown
from benchmarks.described import describe_scene
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.methods.learned import LearnedMethod
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import Fragment, no_progress
import numpy as np
import pytest
from small_scene import fragments, write_scene
from tiny_network import write_weights

VOXEL_SIZE = 0.15


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small scene that both lists of pairs know."""
    folder = tmp_path_factory.mktemp('root')
    write_scene(folder, 'field')
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
        method='lmpcr', weights=str(path), voxel_size=VOXEL_SIZE, min_confidence=figures.TAU,
        refine=False)


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
        '--weights', str(tmp_path / 'tiny.safetensors'), '--out', str(tmp_path / 'figure.md')])
    figures.main()
    lines = (tmp_path / 'figure.md').read_text().splitlines()
    assert [line.split('|')[1].strip() for line in lines[2:]] == list(figures.variants(figure, 1))
    assert len({line.count('|') for line in lines}) == 1
