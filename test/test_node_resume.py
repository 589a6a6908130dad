# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sessions of the node: what was acknowledged is there after a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from geometry_msgs.msg import PoseArray
from mvreg_ros import MultiviewRegistration
from mvreg_ros.cli import main
from mvreg_ros.node.interface import LATCHED
from mvreg_ros.node.outputs import pose_message
from mvreg_ros.session.journal import create_journal
from mvreg_ros.session.session import Session as StoredSession
from node_session import (
    cloud_of,
    computed,
    directory,
    Session,
    session,
    set_parameter,
    views,
    VOXEL_SIZE,
    wait_for_work,
)
import numpy as np
import pytest
from std_srvs.srv import Trigger

FRAGMENTS = views(4)
MANY = views(5)  # a second of work


def until_log(
    node: Session, capfd: pytest.CaptureFixture[str], condition: Callable[[str], bool],
) -> str:
    """Wait until the log fulfils a condition, and return it."""
    log = ''

    def fulfilled() -> bool:
        nonlocal log
        log += capfd.readouterr().err
        return condition(log)

    node.consumer.until(fulfilled, 'a line in the log', 300)
    return log


def test_a_restarted_node_goes_on_where_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    """With the fragments, and without computing again what was; offline it is the same."""
    with session('-p', directory(tmp_path)) as node:
        node.publish(FRAGMENTS[:3])
        assert node.call('~/register').success
    capfd.readouterr()
    with session('-p', directory(tmp_path)) as node:
        node.until_status(fragments=3)
        log = capfd.readouterr().err
        folder = tmp_path / 'session_0001'
        assert f'going on with the 3 fragments of {folder}; call ~/reset' in log
        node.fragments.publish(cloud_of(FRAGMENTS[0]))
        node.until_status(refused_stamp_repeated=1)
        node.publish(FRAGMENTS[3:])
        calls = computed(node)
        assert node.call('~/register').success
        assert sorted(calls) == ['descriptor'] + ['register_pair'] * 3
        poses = node.receive(PoseArray, '~/poses', LATCHED).poses
        expected = MultiviewRegistration.from_pretrained(
            voxel_size=VOXEL_SIZE, device='cpu').register(FRAGMENTS)
        assert poses == [pose_message(pose) for pose in expected.poses]
        saved = Path(node.call('~/save').message)
    assert saved == folder / '0001'
    out = tmp_path / 'out'
    assert main(['register', str(folder), '--out', str(out), '--voxel-size', str(VOXEL_SIZE),
                 '--device', 'cpu']) == 0
    for name in ('poses.tum', 'graph.g2o', 'graph.json', 'map.ply', 'fragments.csv'):
        assert (out / name).read_bytes() == (saved / name).read_bytes(), name


def test_reset_begins_the_next_session_and_keeps_the_old_one(tmp_path: Path) -> None:
    with session('-p', directory(tmp_path)) as node:
        node.call('~/reset')
        node.publish(FRAGMENTS[:2])
        node.call('~/reset')
        node.until_status(fragments=0)
        node.call('~/reset')  # which finds nothing to end
    with session('-p', directory(tmp_path)) as node:
        node.until_status(fragments=0)
        node.publish(FRAGMENTS[2:3])
        # The session of a living node is left to it.
        with session('-p', directory(tmp_path), '-r', '__ns:=/other') as other:
            other.until_status(fragments=0, refused_in_use=1)
            other.publish(FRAGMENTS[3:])
    held = {path.name: len(list((path / 'fragments').iterdir())) for path in tmp_path.iterdir()}
    assert held == {'session_0001': 2, 'session_0002': 1, 'session_0003': 1}


def test_what_is_lost_is_said_and_the_rest_is_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    with session('-p', directory(tmp_path)) as node:
        node.publish(FRAGMENTS)
    folder = tmp_path / 'session_0001'
    (folder / 'fragments' / '000001.ply').unlink()
    with (folder / 'journal.jsonl').open('r+b') as journal:
        journal.truncate(journal.seek(-20, 2))
    capfd.readouterr()
    with session('-p', directory(tmp_path), '-p', 'exclude:=9-9') as node:
        node.until_status(fragments=2, refused_missing=1, refused_damaged=1)
        log = capfd.readouterr().err
        assert '000001.ply is not there; put the file back' in log
        assert 'journal.jsonl, line 5; take the file from a backup' in log
        assert 'exclude may name other fragments than it was set for' in log
        node.publish([FRAGMENTS[1], FRAGMENTS[3]])
        assert node.call('~/register').success
    create_journal(folder / 'journal.jsonl', {'version': 99})
    with session('-p', directory(tmp_path)) as node:
        node.until_status(fragments=0, refused_newer_version=1)
        assert 'update mvreg_ros to go on with that session' in capfd.readouterr().err
        node.publish(FRAGMENTS[:1])
    assert (tmp_path / 'session_0002').is_dir()


def test_a_fragment_without_its_far_pose_is_not_called_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    far = np.eye(4)
    far[1, 3] = -1.1e4
    stored = StoredSession.create(tmp_path)
    stored.append(replace(FRAGMENTS[0], T_odom_fragment=far))
    stored.close()
    with session('-p', directory(tmp_path), '-p', 'exclude:=9-9') as node:
        node.until_status(fragments=1, refused_too_far=0)
    log = capfd.readouterr().err
    assert 'session: too_far: ' in log and 'is kept without its T_odom_fragment' in log
    assert 'left out' not in log and 'exclude may name' not in log


def test_a_disk_that_cannot_be_written_refuses_until_it_is_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / 'disk'
    place.touch()  # a file where the folder should be
    with session('-p', directory(place)) as node:
        node.consumer.until(
            lambda: node.fragments.get_subscription_count() > 0, 'the subscription', 60)
        node.fragments.publish(cloud_of(FRAGMENTS[0]))
        node.until_status(fragments=0, refused_disk=1)
        assert 'free or mend the disk of session.directory' in capfd.readouterr().err
        place.unlink()
        node.publish(FRAGMENTS[:2])
        # A disk that is full, as Linux plays it.
        journal = place / 'session_0001' / 'journal.jsonl'
        journal.rename(tmp_path / 'journal.jsonl')
        journal.symlink_to('/dev/full')
        node.fragments.publish(cloud_of(FRAGMENTS[2]))
        node.until_status(fragments=2, refused_disk=2)
        assert node.call('~/register').success
        node.call('~/reset')  # a new session has a journal of its own
        node.until_status(fragments=0)
        journal.unlink()
        (tmp_path / 'journal.jsonl').rename(journal)
        node.publish(FRAGMENTS[2:])
    with session('-p', directory(place)) as node:
        node.until_status(fragments=2)


def test_registration_begins_by_itself_and_once_after_one_that_runs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with session('-p', 'auto_register.every:=3', '-p', 'features:=fpfh') as node:
        node.publish(FRAGMENTS[:2])
        node.until_status(stage='idle')
        node.publish(FRAGMENTS[2:3])
        until_log(node, capfd, lambda log: 'of 3 fragments placed' in log)
        set_parameter(node, 'auto_register.every', 0)
        node.call('~/reset')
        node.until_status(fragments=0)
        node.publish(MANY[:4])
        node.consumer.call(Trigger, '~/register')
        wait_for_work(node)
        set_parameter(node, 'auto_register.every', 1)
        node.publish(MANY[4:5])
        log = until_log(node, capfd, lambda log: 'of 5 fragments placed' in log)
        assert log.count('fragments placed') == 2
        node.until_status(stage='idle')
