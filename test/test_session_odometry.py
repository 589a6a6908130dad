# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry in a session on disk: its runs, and poses that no registration takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mvreg_ros.session.journal import append_entry, create_journal, read_journal
from mvreg_ros.session.session import Session
from mvreg_ros.session.stored import DroppedPose, read_session
import numpy as np
import pytest
from stored_session import COUNT, fragment, write_session


def test_a_session_of_before_there_were_runs_has_one(tmp_path: Path) -> None:
    folder = write_session(tmp_path)
    header, *entries = read_journal(folder / 'journal.jsonl')
    create_journal(folder / 'journal.jsonl', header)
    for entry in entries:
        append_entry(
            folder / 'journal.jsonl', {k: entry[k] for k in entry if k != 'odometry_run'})
    found = read_session(folder)
    assert found.refusals == []
    assert [each.odometry_run for each in found.fragments] == [0] * COUNT


@pytest.mark.parametrize('name', ['T_map_fragment', 'T_odom_fragment'])
def test_a_pose_that_no_registration_takes_is_dropped_and_its_fragment_kept(
    tmp_path: Path, name: str,
) -> None:
    session = Session.create(tmp_path)
    far = np.eye(4)
    far[1, 3] = -1.1e4
    session.append(replace(fragment(0), **{name: far}))
    session.close()
    found, = read_session(session.folder).fragments
    assert getattr(found, name) is None
    np.testing.assert_array_equal(found.points, fragment(0).points)
    refusal, = read_session(session.folder).refusals
    assert isinstance(refusal, DroppedPose) and refusal.reason == 'too_far'
    assert f'line 2, is kept without its {name}, which is more' in str(refusal)
