# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Method `lmpcr` in the pipeline: with weights from a file, in Python and from the shell."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mvreg_ros import MultiviewRegistration
from mvreg_ros.cli import main
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.features.fcgf import FcgfConfig
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.types import InputError, RegistrationCancelled, Verdict
from mvreg_ros.weights.files import save_weights
import numpy as np
import pytest
from small_scene import fragments
import torch

VOXEL_SIZE = 0.15
TINY = LmpcrConfig(
    FcgfConfig(encoder=(4, 4, 8, 8), decoder=(4, 4, 8, 8), out_channels=8, conv1_kernel_size=5),
    voxel_size=VOXEL_SIZE, points=100, width=8, clusters=10,
)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with random weights for a small network of the right kind."""
    torch.manual_seed(0)
    network = Lmpcr(TINY)
    with torch.no_grad():
        for psi in (network.psi_init, network.psi_iter):
            psi.output.bias.fill_(1.0)  # some weight for every match, so that there are poses
    path = tmp_path_factory.mktemp('weights') / 'tiny.safetensors'
    save_weights(path, network.state_dict(), {'config': TINY.to_json(), 'source': 'random'})
    return path


def pipeline(weights: Path, **parameters: object) -> MultiviewRegistration:
    """Return the pipeline with these weights; every edge is taken, however bad."""
    given = {'voxel_size': VOXEL_SIZE, 'min_confidence': 0.0, 'refine': False} | parameters
    return MultiviewRegistration.from_pretrained(method='lmpcr', weights=str(weights), **given)


def test_all_the_edges_say_what_they_are(weights: Path) -> None:
    """Ten pairs of five fragments, with weights that know nothing: as many edges, and verdicts."""
    clouds, _ = fragments()
    result = pipeline(weights).register(clouds)
    edges = result.edges
    assert list(zip(edges.i.tolist(), edges.j.tolist(), strict=True)) == [
        (i, j) for i in range(5) for j in range(i + 1, 5)]
    assert np.isfinite(edges.T_i_j).all()
    assert ((edges.confidence >= 0) & (edges.confidence <= 1)).all()
    assert set(edges.verdict) <= set(Verdict)
    assert list(result.seconds) == ['features', 'pairs', 'synchronization']
    R = edges.T_i_j[:, :3, :3]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (10, 1, 1)), atol=1e-6)


def test_the_same_input_gives_the_same_output(weights: Path) -> None:
    """Bit for bit, also on other threads."""
    clouds, _ = fragments()
    first, second = (pipeline(weights).register(clouds) for _ in range(2))
    np.testing.assert_array_equal(first.edges.T_i_j, second.edges.T_i_j)
    np.testing.assert_array_equal(first.poses, second.poses)


def test_everything_scales_with_the_voxel(weights: Path) -> None:
    """A world twice as large in voxels twice as large is the same to the network."""
    clouds, _ = fragments()
    small = pipeline(weights).register(clouds)
    large = pipeline(weights, voxel_size=2 * VOXEL_SIZE).register([2 * c for c in clouds])
    scaled = large.edges.T_i_j.copy()
    scaled[:, :3, 3] /= 2
    np.testing.assert_allclose(scaled, small.edges.T_i_j, atol=1e-5)
    np.testing.assert_array_equal(large.edges.verdict, small.edges.verdict)


def test_high_demands_leave_fragments_unplaced(weights: Path) -> None:
    """No confidence of random weights is 1: every edge is pruned, and it says why."""
    clouds, _ = fragments()
    result = pipeline(weights, min_confidence=1.0).register(clouds)
    assert not result.placed.any()
    assert set(result.edges.reason) == {'low_confidence'}


def test_progress_is_told_and_can_cancel(weights: Path) -> None:
    """Each stage counts up to its total, also through the rounds of Alg. 1."""
    clouds, _ = fragments()
    steps: list[tuple[str, int, int]] = []
    pipeline(weights).register(clouds, lambda *step: steps.append(step))
    assert list(dict.fromkeys(step[0] for step in steps)) == [
        'features', 'pairs', 'synchronization']
    for stage in ('features', 'pairs', 'synchronization'):
        done = [step[1] for step in steps if step[0] == stage]
        assert done == list(range(1, len(done) + 1))
        assert {step[2] for step in steps if step[0] == stage} == {len(done)}

    def cancel(stage: str, done: int, total: int) -> None:
        if stage == 'synchronization':
            raise RegistrationCancelled

    with pytest.raises(RegistrationCancelled):
        pipeline(weights).register(clouds, cancel)


def test_without_a_confidence_block_inliers_are_counted(tmp_path: Path, weights: Path) -> None:
    """As in what was published; the file says what it holds, and works."""
    network = Lmpcr(TINY)
    published = {name: tensor for name, tensor in network.state_dict().items()
                 if not name.startswith(('matching', 'zeta', 'beta'))}
    path = tmp_path / 'published.safetensors'
    save_weights(path, published, {'config': TINY.to_json(), 'source': 'random'})
    clouds, _ = fragments()
    result = pipeline(path).register(clouds[:3])
    assert np.isfinite(result.edges.confidence).all()


def test_what_is_missing_is_named_with_the_cure(tmp_path: Path) -> None:
    """No file named, no such file, a file without registration blocks."""
    with pytest.raises(InputError, match='mvreg weights convert'):
        MultiviewRegistration.from_pretrained(method='lmpcr')
    with pytest.raises(InputError, match=r'nowhere\.safetensors'):
        MultiviewRegistration.from_pretrained(
            method='lmpcr', weights=str(tmp_path / 'nowhere.safetensors'))
    only_phi = {name: tensor for name, tensor in Lmpcr(TINY).state_dict().items()
                if name.startswith('phi')}
    path = tmp_path / 'fcgf.safetensors'
    save_weights(path, only_phi, {'config': TINY.to_json(), 'source': 'random'})
    with pytest.raises(InputError, match='has no psi_init and no psi_iter'):
        pipeline(path)


def test_an_engine_that_is_not_installed_is_missed_at_once(weights: Path) -> None:
    """Not when the first fragments have been collected."""
    if find_spec('MinkowskiEngine'):
        pipeline(weights, sparse_engine='minkowski')
    else:
        with pytest.raises(InputError, match='make minkowski'):
            pipeline(weights, sparse_engine='minkowski')


def test_the_command_takes_the_weights(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    """`mvreg register --method lmpcr --weights FILE` writes what every method writes."""
    clouds, _ = fragments()
    for k, cloud in enumerate(clouds[:3]):
        (tmp_path / f'{k}.ply').write_bytes(encode_ply(cloud))
    code = main([
        'register', *(str(tmp_path / f'{k}.ply') for k in range(3)), '--method', 'lmpcr',
        '--weights', str(weights), '--voxel-size', str(VOXEL_SIZE), '--min-confidence', '0',
        '--no-refine', '--out', str(tmp_path / 'result')])
    assert code == 0, capsys.readouterr().err
    assert 'method: lmpcr' in (tmp_path / 'result' / 'config.yaml').read_text()
    assert main(['register', str(tmp_path / '0.ply'), str(tmp_path / '1.ply'), '--method',
                 'lmpcr', '--out', str(tmp_path / 'nothing')]) == 2
    assert 'method lmpcr needs weights' in capsys.readouterr().err
