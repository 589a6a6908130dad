# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The text files of 3DMatch: what is written is read again, and errors name the line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.data.files import write_atomic
from mvreg_ros.data.logs import read_info, read_log, read_overlap, write_info, write_log
from mvreg_ros.types import InputError
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

IDENTITY = '1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n'


def transforms(count: int) -> dict[tuple[int, int], np.ndarray]:
    """Return random rigid transforms of the pairs (0, 1), (1, 2), ..."""
    rng = np.random.default_rng(0)
    result = {}
    for k in range(count):
        T = np.eye(4)
        T[:3, :3] = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
        T[:3, 3] = rng.normal(size=3)
        result[k, k + 1] = T
    return result


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = transforms(5)
    write_log(tmp_path / 'a.log', 9, written)
    read = read_log(tmp_path / 'a.log')
    assert read.count == 9 and list(read.matrices) == list(written)
    for pair, T in written.items():
        np.testing.assert_allclose(read.matrices[pair], T, atol=1e-9)
    assert (tmp_path / 'a.log').read_text().startswith('0\t1\t9\n')
    assert len((tmp_path / 'a.log').read_text().splitlines()) == 25


def test_an_info_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = {(0, 3): np.diag([5000.0, 5000, 5000, 1, 2, 3]), (1, 2): np.zeros((6, 6))}
    write_info(tmp_path / 'a.info', 4, written)
    read = read_info(tmp_path / 'a.info').matrices
    assert list(read) == list(written)
    for pair in written:
        np.testing.assert_array_equal(read[pair], written[pair])


@pytest.mark.parametrize(('text', 'cause'), [
    ('0 1\n' + IDENTITY, r'a\.log:1: expected i j n'),
    ('0 1 2\n' + IDENTITY + '\n0 x 2\n' + IDENTITY, r'a\.log:7: expected i j n'),
    ('0 2 2\n' + IDENTITY, r'a\.log:1: 0 2 is no pair of 2'),
    ('1 1 2\n' + IDENTITY, r'a\.log:1: 1 1 is no pair of 2'),
    ('0 1 2\n' + IDENTITY * 2, r'a\.log:6: expected i j n'),
    ('0 1 2\n' + IDENTITY + '0 1 2\n' + IDENTITY, r'a\.log:6: pair 0 1 .* second time'),
    ('0 1 2\n' + IDENTITY + '1 0 2\n' + IDENTITY, r'a\.log:6: pair 1 0 .* second time'),
    ('0 1 2\n1 0 0 0\n', r'a\.log:1: the file ends'),
    ('0 1 2\n1 0 0\n' + IDENTITY, r'a\.log:2: expected 4 finite numbers'),
    ('0 1 2\n' + IDENTITY.replace('1 0 0 0', '1 0 nan 0'), r'a\.log:2: expected 4 finite'),
    ('0 1 2\n' + IDENTITY.replace('1 0 0 0', '2 0 0 0'), 'pair 0 1 is no rigid transform'),
    ('0 1 2\n' + IDENTITY.replace('0 1 0 0', '0 -1 0 0'), 'pair 0 1 is no rigid transform'),
])
def test_errors_name_the_line(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / 'a.log').write_text(text)
    with pytest.raises(InputError, match=cause):
        read_log(tmp_path / 'a.log')


def test_missing_and_binary_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='cannot be read'):
        read_log(tmp_path / 'a.log')
    (tmp_path / 'a.log').write_bytes(b'\xff\xfe')
    with pytest.raises(InputError, match='not a text file'):
        read_log(tmp_path / 'a.log')


def test_overlaps_are_read_by_pair(tmp_path: Path) -> None:
    (tmp_path / 'gt_overlap.log').write_text('0,1,0.25\n0,2,0.0\n')
    assert read_overlap(tmp_path / 'gt_overlap.log') == {(0, 1): 0.25, (0, 2): 0.0}
    (tmp_path / 'gt_overlap.log').write_text('0,1,0.25\n0,2\n')
    with pytest.raises(InputError, match=r'gt_overlap\.log:2: expected i,j,overlap'):
        read_overlap(tmp_path / 'gt_overlap.log')


WORD = st.one_of(st.integers(-2, 5).map(str), st.floats().map(str), st.text(max_size=3))
LINE = st.lists(WORD, max_size=6).map(' '.join)


@given(st.one_of(st.binary(max_size=300), st.lists(LINE, max_size=12).map('\n'.join)))
def test_any_content_gives_matrices_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str,
) -> None:
    path = tmp_path_factory.getbasetemp() / 'noise.log'
    data = content if isinstance(content, bytes) else content.encode('utf-8', 'replace')
    path.write_bytes(data)
    for read in (read_log, read_info, read_overlap):
        with suppress(InputError):
            read(path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / 'a.txt'
    write_atomic(path, 'old')

    def disk_full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', disk_full)
    with pytest.raises(InputError, match='No space left'):
        write_atomic(path, 'new')
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_writing_into_a_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='cannot be written'):
        write_atomic(tmp_path / 'no' / 'a.txt', '')
