# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of pair selection: its second table by hand, and both on a small scene."""

from __future__ import annotations

from pathlib import Path
import sys

from benchmarks import selection
from mvreg_ros.types import Edges, PairRegistration, Verdict
import numpy as np
import pytest
from small_scene import fragments, VOXEL_SIZE, write_scene


def test_how_early_the_pairs_in_use_come() -> None:
    """Ten pairs in the order 0-1, 0-2, ... 3-4; the first, the third and the last are in use."""
    scores = np.zeros((5, 5))
    scores[np.triu_indices(5, 1)] = np.arange(10, 0, -1)
    edges = Edges.of([PairRegistration(i, j, np.eye(4), 0, 0.0, 0.0, np.eye(6))
                      for i, j in ((0, 1), (0, 3), (1, 2), (3, 4))])
    edges.verdict[2] = Verdict.PRUNED
    assert selection.found_in(scores, edges) == pytest.approx([1 / 3, 1, 1])
    assert selection.found_in(scores, edges.select(np.array([0, 1]))) == pytest.approx(
        [0.5, 0.3, 0.3])
    assert np.isnan(selection.found_in(scores, edges.select(np.array([2])))).all()


def test_both_ways_of_an_easy_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    """Of five fragments all pairs are likely: the same figures beside each other."""
    write_scene(tmp_path, 'field')
    _, poses = fragments()
    for k, pose in enumerate(poses):
        np.savetxt(
            tmp_path / f'fragments/field/cloud_bin_{k}.info.txt', pose, header='field seq-01')
    out = tmp_path / 'selection.md'
    monkeypatch.setattr(sys, 'argv', [
        'selection', str(tmp_path), '--out', str(out), '--features', 'fpfh',
        '--voxel-size', str(VOXEL_SIZE)])
    selection.main()
    text = out.read_text()
    assert text in capsys.readouterr().out
    rows = {cells[0]: cells[1:] for line in text.splitlines()
            if len(cells := [cell.strip() for cell in line.strip('|').split('|')]) > 1}
    assert rows['all'][:-1] == rows['auto'][:-1]
    assert rows['all'][1] == '1.000' and rows['all'][-2] == '10'
    assert set(rows) >= {'all', 'auto', 'field'}
