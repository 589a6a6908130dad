# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reliability of confidences: known answers, and what an edge is held against."""

from __future__ import annotations

from dataclasses import replace
import json

from hypothesis import given, strategies
from mvreg_ros.data.scenes import GroundTruth, Scene
from mvreg_ros.evaluation.calibration import (
    BINS,
    calibration,
    edge_outcomes,
    Outcomes,
    reliability,
)
from mvreg_ros.evaluation.plots import plots
from mvreg_ros.evaluation.protocol import SceneResult
from mvreg_ros.evaluation.tables import calibration_table
import numpy as np
import pytest
from results import made_up_registration

NEAR, FAR = np.eye(4), np.eye(4)
NEAR[0, 3], FAR[0, 3] = 0.4, 0.6


def made_up_result(poses_known: bool = True) -> SceneResult:
    """
    Return four edges with confidences 0.99, 0.6, 0.91 and 0.2.

    The second is 0.4 m off, the third 0.6 m. A benchmark lists the pairs of the first three.
    """
    _, registration = made_up_registration()
    edges = registration.edges
    truth = np.tile(np.eye(4), (6, 1, 1))
    truth[:, 0, 3] = np.arange(6)
    T = np.stack([np.linalg.inv(truth[i]) @ truth[j]
                  for i, j in zip(edges.i, edges.j, strict=True)])
    pairs = list(zip(edges.i.tolist(), edges.j.tolist(), strict=True))[:3]
    listed = GroundTruth(
        dict(zip(pairs, T, strict=False)), dict.fromkeys(pairs, np.diag([9.0] * 6)))
    estimates = T @ np.stack([np.eye(4), NEAR, FAR, np.eye(4)])
    registration = replace(registration, edges=replace(edges, T_i_j=estimates))
    scene = Scene('s', 6, {'3dmatch': listed}, T_world_fragment=truth if poses_known else None)
    return SceneResult(scene, registration, dict(zip(pairs, T, strict=False)), 0.0)


def test_known_answers() -> None:
    found = reliability(Outcomes(
        np.array([0.0, 0.91, 0.95, 1.0, 0.99]), np.array([False, True, True, False, True])))
    assert found.edges.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 4]
    assert found.right[[0, 9]].tolist() == [0, 0.75]
    assert found.confidence[9] == pytest.approx(3.85 / 4)
    assert np.isnan(found.right[1:9]).all()
    assert found.expected_calibration_error == pytest.approx(0.8 * (3.85 / 4 - 0.75))


def test_nothing_is_nan() -> None:
    found = reliability(Outcomes(np.zeros(0), np.zeros(0, bool)))
    assert np.isnan(found.expected_calibration_error) and found.edges.sum() == 0


@given(strategies.lists(strategies.tuples(strategies.floats(0, 1), strategies.booleans()),
                        min_size=1))
def test_every_edge_is_in_its_bin(edges: list[tuple[float, bool]]) -> None:
    """A brute-force twin."""
    found = reliability(Outcomes(
        np.array([c for c, _ in edges]), np.array([right for _, right in edges])))
    error = 0.0
    for k in range(BINS):
        inside = [(c, right) for c, right in edges if min(int(c * BINS), BINS - 1) == k]
        assert found.edges[k] == len(inside)
        if inside:
            confidence, right = np.mean(inside, axis=0)
            assert found.right[k] == pytest.approx(right)
            error += len(inside) / len(edges) * abs(confidence - right)
    assert found.expected_calibration_error == pytest.approx(error)


def test_edges_are_held_against_poses_and_against_lists() -> None:
    """0.4 m is right among all pairs and wrong by the 0.2 m of 3DMatch; 0.6 m is wrong in both."""
    found = edge_outcomes([made_up_result()])
    assert found['all_pairs'].confidence.tolist() == [0.99, 0.2, 0.6, 0.91]
    assert found['all_pairs'].right.tolist() == [True, True, True, False]
    assert found['listed_pairs'].confidence.tolist() == [0.99, 0.6, 0.91]
    assert found['listed_pairs'].right.tolist() == [True, False, False]


def test_what_is_not_known_is_left_out() -> None:
    result = made_up_result(poses_known=False)
    assert set(edge_outcomes([result])) == {'listed_pairs'}
    bare = replace(result, scene=replace(
        result.scene, truth={'scannet': GroundTruth(result.scene.truth['3dmatch'].T_i_j, {})}))
    assert edge_outcomes([bare]) == {} and set(plots([bare])) == {'ecdf'}
    assert calibration([bare]) == {'scenes': {'s': {}}, 'pooled': {}}


def test_figures_and_picture() -> None:
    results = [made_up_result(), made_up_result()]
    figures = calibration(results)
    assert figures['pooled']['all_pairs']['edges'] == 8
    assert figures['scenes']['s']['all_pairs']['edges'] == 4
    last = figures['pooled']['listed_pairs']['bins'][-1]
    assert last == {'from': 0.9, 'edges': 4, 'confidence': pytest.approx(0.95), 'right': 0.5}
    assert json.loads(json.dumps(figures))['pooled']['listed_pairs']['edges'] == 6
    assert plots(results)['reliability'].startswith(b'\x89PNG')
    assert '0.9 to 1.0' in calibration_table(figures)
