# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of odometry: its shares and tables, and all of it on small walks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import sys

from benchmarks import odometry, walks
from benchmarks.made_up_odometry import chained, KINDS
from mvreg_ros.multiview.pose_graph import synchronize
from mvreg_ros.types import (
    Edges,
    FloatArray,
    Fragment,
    FragmentFeatures,
    InputError,
    PairRegistration,
)
import numpy as np
import pytest
from random_motion import random_pose
from small_scene import fragments, write_scene
import torch

COUNT = 8


def truth() -> FloatArray:
    """Return (COUNT, 4, 4) poses of a walk, the first the identity."""
    steps = np.stack([random_pose(np.random.default_rng(k)).numpy() for k in range(COUNT - 1)])
    return chained(steps)


TRUTH = truth()


def pair(i: int, j: int) -> PairRegistration:
    """Return a pair of the walk as good registration finds it."""
    return PairRegistration(
        i, j, np.linalg.inv(TRUTH[i]) @ TRUTH[j], 200, 200.0, 0.9, 1e4 * np.eye(6))


def walked(pairs: list[PairRegistration]) -> walks.Walk:
    """Return the walk with fragments that have no points."""
    nothing = FragmentFeatures(*(torch.zeros(0, 3) for _ in range(3)), torch.zeros(3))
    return walks.Walk(
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
    run = [[before, *[better] * len(KINDS)]] * len(walks.EVERY)
    other = [[before, *[worse] * len(KINDS)]] * len(walks.EVERY)
    text = odometry.report(np.array([run, other]))
    assert text.count('right 0.200, wrong 0.000') == len(walks.EVERY)
    assert text.count('| +0.200 | -0.100 | +0.200 | +0.400 |') == (
        len(walks.EVERY) * len(KINDS))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all fragments of a walk, and only few of a simulated one."""
    monkeypatch.setattr(walks, 'ROOMS', 1)
    monkeypatch.setattr(walks, 'FRAGMENTS', 4)
    for module in (walks, odometry):
        monkeypatch.setattr(module, 'EVERY', (1,))


def measured(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> str:
    """Run the benchmark with one draw and return what it has written."""
    monkeypatch.setattr(
        sys, 'argv', ['odometry', '--draws', '1', '--out', str(out), *arguments])
    odometry.main()
    return out.read_text()


@pytest.mark.usefixtures('few')
def test_all_of_it_on_a_small_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    text = measured(monkeypatch, tmp_path / 'odometry.md', '--flats', '1', '--first', '7')
    assert text in capsys.readouterr().out
    for kind in KINDS:
        assert f'| {kind} |' in text


@pytest.mark.usefixtures('few')
def test_real_walks_are_those_of_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scene(tmp_path, 'field')
    arguments = '--real', str(tmp_path), '--scenes', 'field'
    with pytest.raises(InputError, match='field: cloud_bin'):
        measured(monkeypatch, tmp_path / 'odometry.md', *arguments)
    _, poses = fragments()
    for k, pose in enumerate(poses):
        np.savetxt(tmp_path / f'fragments/field/cloud_bin_{k}.info.txt', pose, header='field seq')
    text = measured(monkeypatch, tmp_path / 'odometry.md', *arguments)
    assert 'real flats: field; seeds from 960 on, 1 draws of each kind' in text
    for kind in KINDS:
        assert f'| {kind} |' in text
