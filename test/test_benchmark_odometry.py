# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of odometry: its kinds are what they say, and all of it runs on a small walk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import sys

from benchmarks import odometry
from mvreg_ros.multiview.pose_graph import synchronize
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import Edges, FloatArray, Fragment, FragmentFeatures, PairRegistration
import numpy as np
import pytest
from random_motion import random_pose
import torch

COUNT = 8


def truth() -> FloatArray:
    """Return (COUNT, 4, 4) poses of a walk, the first the identity."""
    steps = np.stack([random_pose(np.random.default_rng(k)).numpy() for k in range(COUNT - 1)])
    return odometry.chained(steps)


TRUTH = truth()


def told(kind: str, seed: int = 0) -> FloatArray:
    """Return the motions of a kind of odometry."""
    return odometry.motions(odometry.KINDS[kind](np.random.default_rng(seed), TRUTH))


def test_drift_grows_with_what_it_is_said_to_be_multiplied_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = odometry.motions(TRUTH)
    way = np.linalg.norm(steps[:, :3, 3], axis=1)
    off = [np.mean([
        np.linalg.norm((np.linalg.inv(steps) @ told(kind, seed))[:, :3, 3], axis=1) / way
        for seed in range(50)]) for kind in ('drift 1x', 'drift 3x', 'drift 10x')]
    # The mean length of a vector of three normal deviates is 1.6 of theirs.
    np.testing.assert_allclose(off, 1.6 * odometry.LENGTH_DRIFT * np.array([1, 3, 10]), rtol=0.1)
    monkeypatch.setattr(odometry, 'LENGTH_DRIFT', 0.0)
    monkeypatch.setattr(odometry, 'TURN_DRIFT', 0.0)
    np.testing.assert_allclose(told('drift 1x'), steps, atol=1e-12)


def test_wrong_odometry_is_wrong_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odometry, 'LENGTH_DRIFT', 0.0)
    monkeypatch.setattr(odometry, 'TURN_DRIFT', 0.0)
    steps = odometry.motions(TRUTH)
    other = {kind: ~np.isclose(told(kind), steps).all((1, 2)) for kind in odometry.KINDS}
    assert other['carried'].sum() == other['jump'].sum() == 1
    np.testing.assert_allclose(told('carried')[other['carried']], [np.eye(4)], atol=1e-12)
    np.testing.assert_allclose(told('frozen'), np.tile(np.eye(4), (COUNT - 1, 1, 1)))
    stops = np.flatnonzero(other['freezes'])
    assert stops[0] >= COUNT // 2 - 1
    np.testing.assert_array_equal(stops, np.arange(stops[0], COUNT - 1))
    longer = steps.copy()
    longer[:, :3, 3] *= 1.3
    np.testing.assert_allclose(told('metres x 1.3'), longer, atol=1e-12)
    np.testing.assert_allclose(
        rotation_angle(told('turns mirrored')[:, :3, :3] @ steps[:, :3, :3]), 0, atol=1e-6)
    np.testing.assert_allclose(told('of another walk'), np.linalg.inv(steps)[::-1], atol=1e-12)


def pair(i: int, j: int) -> PairRegistration:
    """Return a pair of the walk as good registration finds it."""
    return PairRegistration(
        i, j, np.linalg.inv(TRUTH[i]) @ TRUTH[j], 200, 200.0, 0.9, 1e4 * np.eye(6))


def walked(pairs: list[PairRegistration]) -> odometry.Walk:
    """Return the walk with fragments that have no points."""
    nothing = FragmentFeatures(*(torch.zeros(0, 3) for _ in range(3)), torch.zeros(3))
    return odometry.Walk(
        [Fragment(np.zeros((0, 3), np.float32), k) for k in range(COUNT)],
        np.zeros((COUNT, 3)), [nothing] * COUNT, TRUTH, pairs)


def test_shares_are_of_all_pairs() -> None:
    """Four fragments are linked, the last of them to the wrong place; four are alone."""
    wrong = replace(pair(2, 3), T_i_j=pair(2, 3).T_i_j @ np.diag([-1.0, -1.0, 1.0, 1.0]))
    graph = synchronize(COUNT, Edges.of([pair(0, 1), pair(1, 2), wrong]), 0.85)
    assert odometry.shares(walked([]), graph) == pytest.approx((3 / 28, 3 / 28))


def test_a_thinned_walk_has_the_pairs_of_what_is_left() -> None:
    walk = walked([pair(i, j) for i in range(COUNT) for j in range(i + 1, COUNT)])
    some = walk.thinned(3)
    assert [fragment.id for fragment in some.fragments] == [0, 3, 6]
    assert [(each.i, each.j) for each in some.pairs] == [(0, 1), (0, 2), (1, 2)]
    np.testing.assert_array_equal(some.pairs[2].T_i_j, pair(3, 6).T_i_j)
    np.testing.assert_array_equal(some.T_world_fragment, TRUTH[::3])


def test_the_tables_tell_what_odometry_changes() -> None:
    before, better, worse = (0.2, 0.0), (0.7, 0.0), (0.1, 0.4)
    run = [[before, *[better] * len(odometry.KINDS)]] * len(odometry.EVERY)
    other = [[before, *[worse] * len(odometry.KINDS)]] * len(odometry.EVERY)
    text = odometry.report(np.array([run, other]))
    assert text.count('right 0.200, wrong 0.000') == len(odometry.EVERY)
    assert text.count('| +0.200 | -0.100 | +0.200 | +0.400 |') == (
        len(odometry.EVERY) * len(odometry.KINDS))


def test_all_of_it_on_a_small_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(odometry, 'ROOMS', 1)
    monkeypatch.setattr(odometry, 'FRAGMENTS', 4)
    monkeypatch.setattr(odometry, 'DRAWS', 1)
    monkeypatch.setattr(odometry, 'EVERY', (1,))
    out = tmp_path / 'odometry.md'
    monkeypatch.setattr(sys, 'argv', [
        'odometry', '--flats', '1', '--first', '7', '--out', str(out)])
    odometry.main()
    assert out.read_text() in capsys.readouterr().out
    for kind in odometry.KINDS:
        assert f'| {kind} |' in out.read_text()
