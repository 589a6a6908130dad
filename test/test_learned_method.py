# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Method `lmpcr` in the pipeline: with weights from a file, in Python and from the shell."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mvreg_ros import MultiviewRegistration
from mvreg_ros.cli import main
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview.algorithm_1 import Gamma, PairEstimate
from mvreg_ros.pairwise.confidence import inlier_confidence
from mvreg_ros.parallel import Threads
from mvreg_ros.types import Fragment, InputError, RegistrationCancelled, Verdict
from mvreg_ros.weights.files import save_weights
import numpy as np
import pytest
from small_scene import fragments
from tiny_network import FCGF, write_weights
import torch

VOXEL_SIZE = 0.15
TINY = LmpcrConfig(FCGF, voxel_size=VOXEL_SIZE, points=200, width=8, clusters=10)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with random weights for a small network of the right kind."""
    path = tmp_path_factory.mktemp('weights') / 'tiny.safetensors'
    write_weights(path, VOXEL_SIZE)
    return path


def pipeline(weights: Path, **parameters: object) -> MultiviewRegistration:
    """Return the pipeline with these weights; every edge is taken, however bad."""
    given = {'voxel_size': VOXEL_SIZE, 'min_confidence': 0.0, 'refine': False} | parameters
    return MultiviewRegistration.from_pretrained(
        method='lmpcr', features='fcgf', weights=str(weights), **given)


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
    """Bit for bit, also on more threads."""
    clouds, _ = fragments()
    one, two = pipeline(weights), pipeline(weights)
    one.method.mapper, two.method.mapper = Threads(1), Threads(2)
    first, second = one.register(clouds), two.register(clouds)
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


def test_a_small_fragment_changes_nothing_for_the_pairs_of_the_others(weights: Path) -> None:
    """It has fewer points than are sampled of the others, and is padded."""
    clouds, _ = fragments()
    middle = clouds[4][:, :2].mean(0)
    small = clouds[4][np.linalg.norm(clouds[4][:, :2] - middle, axis=1) < 0.6]
    registration = pipeline(weights)
    given = [registration.prepare(Fragment(cloud)) for cloud in (*clouds[:3], small)]
    features = registration.describe(given)
    points = [len(feature.points) for feature in features]
    assert points[3] < TINY.points < min(points[:3])
    padded = registration.solve(features, (), Stopwatch()).pairwise
    alone = registration.solve(features[:3], (), Stopwatch()).pairwise
    np.testing.assert_allclose(padded.T_i_j[padded.j < 3], alone.T_i_j, atol=1e-5)


def test_edges_are_in_the_metres_of_the_user(weights: Path) -> None:
    """
    Exact correspondences of known poses, in a network whose voxel is twice the user's.

    Inliers within three voxels count, T is in the user's metres, the information is that of
    1.5 voxels a coordinate.
    """
    method = pipeline(weights, voxel_size=VOXEL_SIZE / 2).method
    generator = torch.Generator().manual_seed(0)
    points_j = torch.randn(1, 50, 3, generator=generator)
    points_i = points_j + torch.tensor([2.0, 0.0, 0.0])
    points_i[0, :10, 1] += 3.5 * VOXEL_SIZE
    points_i[0, 10:20, 1] += 2.5 * VOXEL_SIZE
    T = torch.eye(4).double()[None].clone()
    T[0, 0, 3] = 2.0
    mask = torch.ones(1, 50, dtype=torch.bool)
    mask[0, 40:] = False
    pairs = PairEstimate(
        T, torch.tensor([True]), mask.float(), mask.float(), torch.tensor([1.0986123]))
    i, j = torch.tensor([0]), torch.tensor([1])
    edges = method.edges(Gamma(i, j, points_i, points_j, mask), pairs)
    assert edges.inliers.tolist() == [30]
    assert edges.T_i_j[0, 0, 3] == pytest.approx(1.0)
    assert edges.confidence[0] == pytest.approx(0.75)
    sigma = 1.5 * VOXEL_SIZE / 2
    np.testing.assert_allclose(edges.information[0, :3, :3], 40 / sigma**2 * np.eye(3), rtol=1e-5)
    x, y = points_j[0, :40, 0].double() / 2, points_j[0, :40, 1].double() / 2
    assert edges.information[0, 5, 5] == pytest.approx(float((x**2 + y**2).sum()) / sigma**2)


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
        begin, *told = [step for step in steps if step[0] == stage]
        assert begin == (stage, 0, 1)
        assert told == [(stage, done, len(told)) for done in range(1, len(told) + 1)]

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
    method = pipeline(path).method
    weight = torch.tensor([[0.6] * 50 + [0.4] * 50, [0.6] * 24 + [0.4] * 76, [0.4] * 100])
    mask = torch.ones(3, 100, dtype=torch.bool)
    confidence = method.network.zeta(torch.zeros(3, 100, 8), weight, mask).sigmoid()
    np.testing.assert_allclose(confidence, inlier_confidence([50, 24, 0]), atol=1e-6)
    assert np.isfinite(pipeline(path).register(clouds[:3]).edges.confidence).all()


def test_weights_for_other_voxels_are_used_with_a_warning(
    weights: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    """The network sees a world of another size: meant, or a mistake."""
    pipeline(weights)
    assert not caplog.records
    pipeline(weights, voxel_size=VOXEL_SIZE / 3)
    assert '3 times as large' in caplog.text


def test_two_fragments_that_nothing_links_stay_apart(weights: Path) -> None:
    """Where the weights determine no pose there is no edge, even when every edge is wanted."""
    clouds, _ = fragments()
    for refine in (False, True):
        registration = pipeline(weights, refine=refine)
        network = registration.method.network
        network.psi_init.forward = network.psi_iter.forward = one_weight
        result = registration.register(clouds[:2])
        assert not result.placed.any()
        assert result.edges.inliers.tolist() == [0]


def one_weight(x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits that trust the first correspondence only."""
    logits = torch.full(mask.shape, -1.0)
    logits[:, 0] = 1.0
    return logits, torch.zeros(*mask.shape, TINY.width)


def test_what_is_missing_is_named_with_the_cure(tmp_path: Path) -> None:
    """No file named, no such file, a file without registration blocks."""
    with pytest.raises(InputError, match='mvreg weights convert'):
        MultiviewRegistration.from_pretrained(method='lmpcr', features='fcgf')
    with pytest.raises(InputError, match=r'nowhere\.safetensors'):
        MultiviewRegistration.from_pretrained(
            method='lmpcr', features='fcgf', weights=str(tmp_path / 'nowhere.safetensors'))
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
        '--features', 'fcgf', '--weights', str(weights), '--voxel-size', str(VOXEL_SIZE),
        '--min-confidence', '0', '--no-refine', '--out', str(tmp_path / 'result')])
    assert code == 0, capsys.readouterr().err
    assert 'method: lmpcr' in (tmp_path / 'result' / 'config.yaml').read_text()
    assert main(['register', str(tmp_path / '0.ply'), str(tmp_path / '1.ply'), '--features',
                 'fcgf', '--out', str(tmp_path / 'nothing')]) == 2
    assert 'features fcgf needs weights' in capsys.readouterr().err
