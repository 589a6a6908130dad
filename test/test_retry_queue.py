# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments fused from frames outlast a disk that cannot be written for a while."""

from __future__ import annotations

from pathlib import Path

from depth_camera import flight, Robot
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.retry_queue import HELD, RetryQueue
from mvreg_ros.refusal import Refusal
from mvreg_ros.session.stored import read_session
from mvreg_ros.types import Fragment
from node_session import directory, session, views
import numpy as np
import pytest
from stored_session import files_limited_to

FLIGHT = flight(8)
POINTS = np.zeros((1, 3), np.float32)


def fragment(stamp_ns: int) -> Fragment:
    return Fragment(POINTS, stamp_ns=stamp_ns, frame_id='camera')


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return where sessions cannot be until the file that is there is removed."""
    path = tmp_path / 'disk'
    path.touch()
    return path


def test_what_the_disk_refuses_is_kept_in_order_when_it_can_be(place: Path) -> None:
    buffer = FragmentBuffer(lambda fragment: fragment, 0.1, place)
    refusals: list[Refusal] = []
    queue = RetryQueue(buffer.add, refusals.append)
    for stamp_ns in range(1, HELD + 3):
        queue.put(fragment(stamp_ns))
    assert buffer.fragments == [] and not queue.retry()
    assert [refusal.reason for refusal in refusals] == ['disk', 'disk']
    assert queue.problem is not None
    assert queue.problem.text.startswith(f'{HELD} fragments fused from frames wait: disk: ')
    place.unlink()
    queue.put(fragment(99))
    assert queue.problem is None and not queue.retry()
    assert [each.stamp_ns for each in buffer.fragments] == [*range(3, HELD + 3), 99]
    assert len(refusals) == 2
    buffer.close()


def test_what_is_refused_for_good_does_not_hold_up_the_others(place: Path) -> None:
    place.unlink()
    buffer = FragmentBuffer(lambda fragment: fragment, 0.1, place)
    refusals: list[Refusal] = []

    def keep(fragment: Fragment) -> None:
        buffer.check(fragment.stamp_ns, fragment.frame_id, 9)
        buffer.add(fragment)

    queue = RetryQueue(keep, refusals.append)
    buffer.paused = True
    for stamp_ns in (1, 1, 2):
        queue.put(fragment(stamp_ns))
    buffer.paused = False
    assert queue.retry()
    assert [each.stamp_ns for each in buffer.fragments] == [1, 2]
    assert [refusal.reason for refusal in refusals] == ['stamp_repeated']
    buffer.close()


def test_tries_that_fail_leave_nothing_on_the_disk(place: Path) -> None:
    place.unlink()
    buffer = FragmentBuffer(lambda fragment: fragment, 0.1, place)
    queue = RetryQueue(buffer.add, print)
    with files_limited_to(10):  # folders can be made, and the journal cannot
        queue.put(fragment(1))
        assert not queue.retry() and list(place.iterdir()) == []
    assert queue.retry()
    folder, = place.iterdir()
    journal = folder / 'journal.jsonl'
    away = journal.rename(place / 'away')  # points can be written, and the journal cannot
    queue.put(fragment(2))
    assert not queue.retry()
    assert [file.name for file in (folder / 'fragments').iterdir()] == ['000000.ply']
    away.rename(journal)
    assert queue.retry() and queue.problem is None
    buffer.close()
    assert [each.stamp_ns for each in read_session(folder).fragments] == [1, 2]


def test_what_waits_is_forgotten_with_its_session(place: Path) -> None:
    queue = RetryQueue(FragmentBuffer(lambda fragment: fragment, 0.1, place).add, print)
    queue.put(fragment(1))
    queue.clear()
    place.unlink()
    assert queue.problem is None and not queue.retry() and not place.exists()


def test_a_node_keeps_what_it_has_fused_when_the_disk_is_well_again(
    place: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    with session('-p', directory(place), '-p', 'prior.frame:=odom',
                 '-p', 'frames.maximum_frames:=4') as node:
        robot = Robot(node.consumer)
        for view in FLIGHT:
            robot.show(view)
            robot.move(view.stamp_ns, view.T_odom_camera)
        node.consumer.until(
            lambda: node.consumer.status['problem'].startswith('2 fragments fused from'),
            'two fragments that wait', 60)
        assert node.consumer.status['fragments'] == '0'
        refused = node.consumer.status['refused.disk']
        assert refused == '1'  # the last session could not be looked for
        assert '2 fragments fused from frames wait: disk: ' in capfd.readouterr().err
        place.unlink()
        node.until_status(fragments=2, problem='', refused_disk=refused)
        held = node.node._buffer.fragments
        assert [each.stamp_ns for each in held] == [FLIGHT[0].stamp_ns, FLIGHT[4].stamp_ns]
    assert 'lost with this node' not in capfd.readouterr().err


def test_a_node_that_ends_says_which_fragments_are_lost(
    place: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    with session('-p', directory(place), '-p', 'prior.frame:=odom') as node:
        node.node._input._fused.put(views(1)[0])
        capfd.readouterr()
    assert ('lost with this node: 1 fragments fused from frames wait: disk: '
            in capfd.readouterr().err)
