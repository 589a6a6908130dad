# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""~/save over real DDS."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree

from node_session import directory, session, views, wait_for_work
import numpy as np
import pytest
from std_srvs.srv import Trigger

FRAGMENTS = views(4)
MANY = views(8)  # seconds of work


def test_the_last_result_can_be_saved_during_a_registration() -> None:
    with session() as node:
        node.publish(MANY[:3])
        assert node.call('~/register').success
        node.publish(MANY[3:])
        answer = node.consumer.call(Trigger, '~/register')
        wait_for_work(node)
        saved = node.call('~/save')
        assert saved.success, saved.message
        assert not answer.done()
        assert len(np.loadtxt(Path(saved.message) / 'poses.tum')) == 3
        node.call('~/cancel')
        node.consumer.until(answer.done, 'the end of what was cancelled', 60)


def test_save_writes_numbered_folders_and_answers_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    with session('-p', directory('~/maps/today')) as node:
        answer = node.call('~/save')
        assert (answer.success, answer.message) == (
            False, 'nothing to save: call ~/register first')
        node.publish(FRAGMENTS)
        assert node.call('~/register').success
        folder = tmp_path / 'maps' / 'today' / 'session_0001'
        for number in ('0001', '0002'):
            answer = node.call('~/save')
            assert answer.success, answer.message
            assert Path(answer.message) == folder / number
            assert {file.name for file in Path(answer.message).iterdir()} >= {
                'poses.tum', 'graph.g2o', 'graph.json', 'map.ply', 'fragments.csv', 'config.yaml'}
        rmtree(folder)
        answer = node.call('~/save')
        assert not answer.success
        assert f'{folder}: cannot be read: No such file or directory; put it' in answer.message
