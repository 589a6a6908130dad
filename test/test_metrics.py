# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics: known answers, and the published golden figures of real pose graphs."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from mvreg_ros.data.scenes import GroundTruth, pose_graph_scenes, Scene
from mvreg_ros.evaluation.all_pairs import map_figures
from mvreg_ros.evaluation.metrics import (
    coverage,
    distribution,
    ecdf,
    registration_recall,
    relative_errors,
    share_right,
    squared_error,
)
from mvreg_ros.evaluation.protocol import SceneResult, summarize
from mvreg_ros.evaluation.run import synchronize_scene
import numpy as np
import pytest
from real_data import real_data
from scipy.spatial.transform import Rotation


def transform(degrees: float = 0, t: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Return a rotation about z and a translation."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('z', degrees, degrees=True).as_matrix()
    T[:3, 3] = t
    return T


def information(points: np.ndarray) -> np.ndarray:
    """Return the matrix of `gt.info` of points: the sum of [I | -[p]x]^T [I | -[p]x]."""
    G = np.zeros((len(points), 3, 6))
    G[:, :, :3] = np.eye(3)
    x, y, z = points.T
    G[:, 0, 4], G[:, 0, 5], G[:, 1, 3] = z, -y, -z
    G[:, 1, 5], G[:, 2, 3], G[:, 2, 4] = x, y, -x
    return np.einsum('nki,nkj->ij', G, G)


POINTS = np.random.default_rng(0).uniform(-2, 2, (500, 3))
INFORMATION = information(POINTS)


def test_a_translation_is_its_own_squared_error() -> None:
    truth = transform(40, (1, 2, 3))
    assert squared_error(truth @ transform(0, (0.1, 0, 0)), truth, INFORMATION) == \
        pytest.approx(0.01)


def test_a_rotation_counts_half() -> None:
    angle = 1.0
    moved = POINTS @ transform(angle)[:3, :3].T - POINTS
    full = np.mean(np.sum(moved ** 2, axis=1))
    assert squared_error(transform(angle), np.eye(4), INFORMATION) == \
        pytest.approx(full / 4, rel=1e-3)


def test_the_error_does_not_depend_on_the_sign_of_the_quaternion() -> None:
    errors = [squared_error(transform(angle), np.eye(4), INFORMATION) for angle in (179, 181, 359)]
    assert errors[0] == pytest.approx(errors[1], rel=0.05)
    assert errors[2] == pytest.approx(squared_error(transform(1), np.eye(4), INFORMATION), rel=0.1)


def test_recall_counts_pair_zero_and_not_consecutive_or_unknown_pairs() -> None:
    good, bad = np.eye(4), transform(0, (1, 0, 0))
    truth = {(0, 2): good, (0, 1): good, (1, 3): good, (2, 5): good, (0, 4): good}
    estimates = {(0, 2): good, (0, 1): bad, (1, 3): bad, (0, 4): good, (3, 5): good, (4, 5): good}
    weights = dict.fromkeys(truth, INFORMATION) | {(0, 4): np.zeros((6, 6))}
    result = registration_recall(estimates, truth, weights)
    assert (result.correct, result.evaluated, result.declared) == (1, 4, 4)
    assert result.recall == 0.25 and result.precision == 0.25


def test_nothing_to_score_is_nan() -> None:
    result = registration_recall({}, {}, {})
    assert np.isnan([result.recall, result.precision, coverage({}, {})]).all()
    assert np.isnan(ecdf(np.zeros(0), (1, 2))).all()


def test_errors_and_their_distribution() -> None:
    truth = {(0, 1): transform(10), (0, 2): transform(20), (1, 2): transform(30, (1, 0, 0))}
    estimates = {(0, 1): transform(14), (1, 2): transform(30, (1, 0, 0.5))}
    rotation, translation = relative_errors(estimates, truth)
    np.testing.assert_allclose(rotation, [4, np.inf, 0], atol=1e-6)
    np.testing.assert_allclose(translation, [0, np.inf, 0.5], atol=1e-12)
    assert coverage(estimates, truth) == pytest.approx(2 / 3)
    spread = distribution(translation, (0.05, 0.5))
    assert spread == {'ecdf': {'0.05': pytest.approx(1 / 3), '0.5': pytest.approx(2 / 3)},
                      'mean': 0.25, 'median': 0.25}


def test_right_needs_both_errors_to_be_small() -> None:
    truth = {(0, k): np.eye(4) for k in range(1, 6)}
    estimates = {(0, 1): transform(14, (0.2, 0.2, 0)), (0, 2): transform(16),
                 (0, 3): transform(0, (0.31, 0, 0)), (0, 4): np.eye(4)}
    assert share_right(estimates, truth, 15, 0.3) == 2 / 5
    assert np.isnan(share_right(estimates, {}, 15, 0.3))


def two_rooms() -> tuple[Scene, dict]:
    """Return six fragments of which 0-3 and 4-5 hang together, and what a method says of them."""
    world = np.stack([transform(10 * k, (k, 0, 0)) for k in range(6)])
    T = {(i, j): np.linalg.inv(world[i]) @ world[j] for i, j in combinations(range(6), 2)}
    lists = {'3dmatch': [(0, 1), (1, 2), (3, 4)], '3dlomatch': [(0, 2), (1, 2)]}
    truth = {name: GroundTruth({p: T[p] for p in pairs}, dict.fromkeys(pairs, INFORMATION))
             for name, pairs in lists.items()}
    wrong = transform(0, (0.6, 0, 0))
    claimed = {(i, j): T[i, j] @ wrong if j == 3 else T[i, j]
               for i, j in T if (i < 4) == (j < 4)}
    return Scene('rooms', 6, truth, T_world_fragment=world), claimed


def test_a_map_is_scored_on_all_pairs_and_within_what_it_claims() -> None:
    """Of 15 pairs, 7 are claimed to hang together, of which the 3 with fragment 3 are wrong."""
    scene, claimed = two_rooms()
    figures = map_figures(claimed, scene)
    assert figures['all_pairs'] == pytest.approx(4 / 15)
    assert figures['within_component'] == pytest.approx(4 / 7)
    listed = figures['listed']
    assert listed['pairs_evaluated'] == 5  # (1, 2) stands in both lists
    assert listed['rotation_deg']['ecdf']['3'] == listed['translation_m']['ecdf']['0.1'] == 0.8


def test_a_scene_without_poses_has_no_figures_of_all_pairs() -> None:
    scene, claimed = two_rooms()
    figures = map_figures(claimed, Scene('rooms', 6, scene.truth))
    assert np.isnan([figures['all_pairs'], figures['within_component']]).all()
    assert np.isnan(map_figures({}, scene)['within_component'])
    assert map_figures({}, scene)['all_pairs'] == 0


def mirrored(scene: Scene, benchmark: str) -> dict:
    """Return estimates whose error has the rotation reversed: the quaternion's wrong sign."""
    result = dict(scene.estimates)
    for pair, T in scene.truth[benchmark].T_i_j.items():
        if pair in result:
            E = np.linalg.inv(T) @ result[pair]
            E[:3, :3] = E[:3, :3].T
            result[pair] = T @ E
    return result


@pytest.mark.parametrize(('name', 'recall', 'precision', 'wrong_sign'), [
    ('home_md', 0.610, 0.286, 0.484),
    ('hotel3', 0.577, 0.246, 0.500),
    ('mit_lab', 0.511, 0.200, 0.356),
])
def test_golden_figures_of_3dmatch(
    name: str, recall: float, precision: float, wrong_sign: float,
) -> None:
    scene, = pose_graph_scenes(real_data('3dmatch'), [name])
    truth = scene.truth['3dmatch']
    result = registration_recall(scene.estimates, truth.T_i_j, truth.information)
    assert round(result.recall, 3) == recall and round(result.precision, 3) == precision
    wrong = registration_recall(mirrored(scene, '3dmatch'), truth.T_i_j, truth.information)
    assert round(wrong.recall, 3) == wrong_sign


@pytest.mark.parametrize(('name', 'recall', 'precision'), [
    ('livingroom1-evaluation/3dmatch', 0.590, 0.312), ('office1-evaluation/3dmatch', 0.761, 0.294),
])
def test_golden_figures_of_redwood(name: str, recall: float, precision: float) -> None:
    scene, = pose_graph_scenes(real_data('pose_graphs/redwood'), [name])
    truth = scene.truth['redwood']
    result = registration_recall(scene.estimates, truth.T_i_j, truth.information)
    assert round(result.recall, 3) == recall and round(result.precision, 3) == precision


def test_the_best_estimates_of_scannet_agree_with_the_truth() -> None:
    """The convention T_i_j: with the inverse, hardly any pair would lie below 3 degrees."""
    scene, = pose_graph_scenes(real_data('pose_graphs/scannet_fgr'), ['scene0402_00'])
    rotation, translation = relative_errors(scene.estimates, scene.truth['scannet'].T_i_j)
    assert len(rotation) == 4950
    assert np.mean(rotation < 3) > 0.5 and np.mean(translation < 0.1) > 0.45


def scannet_results() -> list[SceneResult]:
    """Return a scene with one pair, 40 degrees off, and one with three of known errors."""
    results = []
    for name, count, errors in (('a', 2, [40.0]), ('b', 3, [0.0, 0.0, 4.0])):
        truth = {pair: np.eye(4) for pair in combinations(range(count), 2)}
        estimates = dict(zip(truth, map(transform, errors), strict=True))
        scene = Scene(name, count, {'scannet': GroundTruth(truth, {})}, estimates=estimates)
        results.append(synchronize_scene(scene, 0.85))
    return results


def test_the_mean_is_over_scenes_and_pooled_is_over_pairs() -> None:
    summary = summarize(scannet_results(), 'scannet')
    mean, pooled = (summary[name]['pairwise']['rotation_deg'] for name in ('mean', 'pooled'))
    assert mean['ecdf']['3'] == pytest.approx((0 + 2 / 3) / 2) and pooled['ecdf']['3'] == 2 / 4
    assert mean['mean'] == pytest.approx((40 + 4 / 3) / 2) and pooled['mean'] == pytest.approx(11)
    assert np.isnan(summary['mean']['rr_multiview'])


def test_an_edge_that_was_used_without_an_estimate_is_not_kept() -> None:
    _, result = scannet_results()
    assert len(result.kept()) == 3
    some = {pair: T for pair, T in result.pairwise.items() if pair != (0, 2)}
    assert {*replace(result, pairwise=some).kept()} == {(0, 1), (1, 2)}


def test_a_map_of_recorded_estimates_is_broken_although_its_listed_pairs_look_fine() -> None:
    """MIT lab by a descriptor of 2017: two thirds of the listed pairs, a tenth of all pairs."""
    scene, = pose_graph_scenes(real_data('3dmatch'), ['mit_lab'])
    result = synchronize_scene(scene, 0.85)
    figures = map_figures(result.multiview(), scene)
    assert figures['listed']['pairs_evaluated'] == 77 + 72
    summary = summarize([result], '3dmatch')['mean']
    assert round(summary['rr_pairwise'], 3) == 0.511 and summary['rr_multiview'] > 0.6
    assert figures['all_pairs'] < 0.2 and figures['within_component'] < 0.2
