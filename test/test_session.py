# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a session on disk keeps, and what it says of what it has lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copy

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.refusal import CURES, Refusal
from mvreg_ros.session.journal import append_entry, create_journal, read_journal
from mvreg_ros.session.session import expanded, last_session, Session
from mvreg_ros.session.stored import read_session
from mvreg_ros.types import Fragment, InputError
import numpy as np
import pytest
from stored_session import COUNT, files_limited_to, fragment, write_session


def assert_same(found: list[Fragment], numbers: list[int]) -> None:
    """Check that the fragments are those of `numbers`, with ids from 0."""
    assert [each.stamp_ns for each in found] == [fragment(k).stamp_ns for k in numbers]
    for id, (each, k) in enumerate(zip(found, numbers, strict=True)):
        expected = fragment(k)
        assert (each.id, each.name) == (id, f'fragment_{id:04d}')
        assert each.frame_id == expected.frame_id
        assert each.points.dtype == each.sensor_origin.dtype == np.float32
        np.testing.assert_array_equal(each.points, expected.points)
        np.testing.assert_array_equal(each.sensor_origin, expected.sensor_origin)
        for name in ('T_map_fragment', 'T_odom_fragment', 'odometry_run'):
            np.testing.assert_array_equal(getattr(each, name), getattr(expected, name))


def reasons(folder: Path) -> list[str]:
    """Return why parts of a session are left out."""
    return [refusal.reason for refusal in read_session(folder).refusals]


def test_a_session_keeps_every_bit_of_its_fragments(tmp_path: Path) -> None:
    folder = write_session(tmp_path / 'not' / 'there' / 'yet')
    assert folder.name == 'session_0001'
    content = read_session(folder)
    assert_same(content.fragments, list(range(COUNT)))
    assert content.refusals == [] and content.next_number == COUNT


def test_sessions_are_numbered_and_the_last_is_gone_on_with(tmp_path: Path) -> None:
    assert last_session(tmp_path / 'nowhere') is None
    for number in (1, 2, 3):
        assert write_session(tmp_path).name == f'session_{number:04d}'
    (tmp_path / 'session_0007').mkdir()  # a crash between the folder and its journal
    (tmp_path / 'session_old').mkdir()
    last = last_session(tmp_path)
    assert last == tmp_path / 'session_0003'
    session = Session(last)
    session.append(fragment(COUNT))
    session.close()
    assert_same(read_session(last).fragments, list(range(COUNT + 1)))
    assert write_session(tmp_path).name == 'session_0008'


def test_a_session_is_open_once(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    with pytest.raises(Refusal, match=r'in_use: .*session_0001 is open in another node'):
        Session(session.folder)
    session.close()
    Session(session.folder).close()


def test_a_journal_cut_off_anywhere_has_every_entry_before_the_cut(tmp_path: Path) -> None:
    folder = write_session(tmp_path)
    journal = folder / 'journal.jsonl'
    content = journal.read_bytes()
    ends = [k for k, byte in enumerate(content) if byte == ord('\n')]
    for size in (*range(ends[0] + 1, len(content), 37), *ends[1:], ends[1] + 1):
        journal.write_bytes(content[:size])
        whole = sum(end <= size for end in ends[1:])  # the line's end itself holds nothing
        found = read_session(folder)
        assert_same(found.fragments, list(range(whole)))
        cut = size not in ends and size - 1 not in ends
        assert [refusal.reason for refusal in found.refusals] == ['damaged'] * cut


@pytest.mark.parametrize('missing', [1, 50])
def test_an_entry_after_one_that_was_cut_off_has_a_line_of_its_own(
    tmp_path: Path, missing: int,
) -> None:
    folder = write_session(tmp_path)
    journal = folder / 'journal.jsonl'
    journal.write_bytes(journal.read_bytes()[:-missing])
    session = Session(folder)
    session.append(fragment(COUNT))
    session.close()
    lost = [] if missing == 1 else [COUNT - 1]  # the end of the line alone is no loss
    assert_same(
        read_session(folder).fragments, [k for k in range(COUNT + 1) if k not in lost])
    assert reasons(folder) == ['damaged'] * len(lost)


@pytest.mark.parametrize('line', range(COUNT + 1))
def test_a_damaged_line_costs_its_own_fragment_at_most(tmp_path: Path, line: int) -> None:
    folder = write_session(tmp_path)
    journal = folder / 'journal.jsonl'
    lines = journal.read_bytes().splitlines()
    lines[line] = lines[line].replace(b'1', b'2', 1)
    journal.write_bytes(b'\n'.join(lines))
    assert_same(read_session(folder).fragments, [k for k in range(COUNT) if k != line - 1])
    assert reasons(folder) == ['damaged']
    # The number of what was lost is not given to another.
    session = Session(folder)
    session.append(fragment(COUNT))
    session.close()
    assert len(list((folder / 'fragments').iterdir())) == COUNT + 1


@pytest.mark.parametrize(('damage', 'reason'), [
    (lambda path: path.unlink(), 'missing'),
    (lambda path: path.write_bytes(b''), 'damaged'),
    (lambda path: path.write_bytes(path.read_bytes()[:-1]), 'damaged'),
    (lambda path: path.write_bytes(path.read_bytes()[:-1] + b'\x7f'), 'damaged'),
])
def test_points_that_are_gone_or_damaged_cost_their_own_fragment(
    tmp_path: Path, damage: Callable[[Path], None], reason: str,
) -> None:
    folder = write_session(tmp_path)
    damage(folder / 'fragments' / '000001.ply')
    content = read_session(folder)
    assert_same(content.fragments, [0, 2, 3])
    refusal, = content.refusals
    assert refusal.reason == reason
    assert '000001.ply' in str(refusal) and CURES[reason] in str(refusal)
    assert content.next_number == COUNT


def test_a_session_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / 'session_0001'
    folder.mkdir()
    create_journal(folder / 'journal.jsonl', {'version': 2, 'news': 'unheard of'})
    before = (folder / 'journal.jsonl').read_bytes()
    for _ in range(2):  # the refused session is not kept open
        with pytest.raises(Refusal, match=r'newer_version: .*session_0001 has version 2; update'):
            Session(folder)
    assert (folder / 'journal.jsonl').read_bytes() == before


@pytest.mark.parametrize('change', [
    {'number': '../../escaped'}, {'number': None}, {'stamp_ns': -1}, {'stamp_ns': 1e300},
    {'stamp_ns': 2**31 * 10**9}, {'points': None}, {'sensor_origin': [1]},
    {'T_odom_fragment': 'here'}, {'T_map_fragment': [[1.0]]},
    {'odometry_run': -1}, {'odometry_run': 2**31}, {'odometry_run': True}, {'odometry_run': None},
    *[change for number in (10**400, 1e300, float('inf'), float('nan'))
      for change in ({'sensor_origin': [number, 0, 0]}, {'T_map_fragment': [[number] * 4] * 4})],
])
def test_an_entry_that_makes_no_sense_is_refused(tmp_path: Path, change: dict) -> None:
    """A stranger can compute checksums."""
    folder = write_session(tmp_path)
    journal = folder / 'journal.jsonl'
    copy(folder / 'fragments' / '000001.ply', folder / 'fragments' / f'{COUNT:06d}.ply')
    append_entry(journal, {**read_journal(journal)[2], 'number': COUNT, **change})
    content = read_session(folder)
    assert_same(content.fragments, list(range(COUNT)))
    assert [refusal.reason for refusal in content.refusals] == ['damaged']
    assert content.next_number == COUNT + 1


def test_what_cannot_be_written_is_refused_and_the_session_stays_as_it_was(
    tmp_path: Path,
) -> None:
    folder = write_session(tmp_path)
    journal = folder / 'journal.jsonl'
    before = journal.read_bytes()
    session = Session(folder)
    for size in (10, len(before), len(before) + 100):
        with files_limited_to(size), pytest.raises(
                Refusal, match=r'disk: .*cannot be written.*; free or mend'):
            session.append(fragment(COUNT))
        assert journal.read_bytes() == before
        assert len(list((folder / 'fragments').iterdir())) == COUNT
    session.append(fragment(COUNT))
    session.close()
    assert_same(read_session(folder).fragments, list(range(COUNT + 1)))
    assert reasons(folder) == []


def test_a_journal_that_was_removed_is_not_begun_in_the_middle(tmp_path: Path) -> None:
    session = Session.create(tmp_path)
    (session.folder / 'journal.jsonl').unlink()
    with pytest.raises(Refusal, match=r'disk: .*journal.jsonl: cannot be written: No such file'):
        session.append(fragment(0))
    session.close()


@pytest.mark.parametrize('emptied', [True, False])
def test_a_journal_without_its_header_keeps_what_is_accepted_afterwards(
    tmp_path: Path, emptied: bool,
) -> None:
    folder = write_session(tmp_path, 2)
    journal = folder / 'journal.jsonl'
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b'' if emptied else b''.join(lines[1:]))
    session = Session(folder)
    assert [refusal.reason for refusal in session.found.refusals] == ['damaged']
    for k in (2, 3):
        session.append(fragment(k))
    session.close()
    assert_same(read_session(folder).fragments, [2, 3] if emptied else [0, 1, 2, 3])
    assert reasons(folder) == ([] if emptied else ['damaged'])


def test_a_directory_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / 'sessions').touch()
    with pytest.raises(Refusal, match=r'disk: .*sessions cannot be read, Not a directory'):
        last_session(tmp_path / 'sessions')


def test_sessions_that_begin_at_once_have_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(Session.create, [tmp_path] * 16))
    assert len({session.folder for session in sessions}) == 16
    for session in sessions:
        session.close()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(Refusal, match=r'disk: .*file/sessions cannot be written'):
        Session.create(tmp_path / 'file' / 'sessions')


def test_the_home_of_a_user_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    assert expanded('~/maps') == tmp_path / 'maps'
    assert expanded('maps') == Path.cwd() / 'maps'
    with pytest.raises(InputError, match=r'nobody_of_that_name.*: name another'):
        expanded('~nobody_of_that_name')


@pytest.fixture(scope='module')
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a session of two fragments that is given back as it was."""
    return write_session(tmp_path_factory.mktemp('flipped'), 2)


@given(st.data())
def test_flipped_bits_never_give_other_fragments(original: Path, data: st.DataObject) -> None:
    """Whatever happens to the files: what is read is what was accepted."""
    file = original / data.draw(st.sampled_from(
        ['journal.jsonl', 'fragments/000000.ply', 'fragments/000001.ply']))
    before = file.read_bytes()
    content = bytearray(before)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        file.write_bytes(content[:data.draw(st.integers(0, len(content)))])
        found = read_session(original).fragments
    except Refusal:
        return
    finally:
        file.write_bytes(before)
    expected = {fragment(k).stamp_ns: fragment(k) for k in range(2)}
    assert len(found) == len({each.stamp_ns for each in found})
    for each in found:
        assert each.frame_id == expected[each.stamp_ns].frame_id
        np.testing.assert_array_equal(each.points, expected[each.stamp_ns].points)
