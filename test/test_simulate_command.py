# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg simulate` writes scenes with a picture each, the same by one process and by several."""

from __future__ import annotations

from multiprocessing import active_children
from pathlib import Path

from matplotlib.image import imread
from mvreg_ros.cli import main
from mvreg_ros.commands.simulate import simulate_at_once
from mvreg_ros.types import InputError
import pytest


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def test_scenes_and_pictures_by_one_process_and_two(tmp_path: Path) -> None:
    """The bytes of all files are the same; a picture has more in it than background."""
    one, two = tmp_path / 'one', tmp_path / 'two'
    words = ['--scenes', '2', '--seed', '3', '--rooms', '1', '--fragments', '1']
    assert main(['simulate', '--out', str(one), *words]) == 0
    assert main(['simulate', '--out', str(two), *words, '--jobs', '2']) == 0
    written = files(one)
    assert {'simulated_3.png', 'simulated_4.png'} <= written.keys()
    assert 'fragments/simulated_4/cloud_bin_0.ply' in written
    assert written == files(two)
    picture = imread(one / 'simulated_3.png')
    assert picture.shape[1] == 2 * picture.shape[0]
    left, right = picture[:, :800], picture[:, 800:]
    for half in (left, right):
        assert len({tuple(color) for color in half[::7, ::7].reshape(-1, half.shape[2])}) > 100


@pytest.mark.parametrize('option', ['--scenes', '--rooms', '--fragments', '--jobs'])
def test_numbers_are_one_or_more(tmp_path: Path, capsys, option: str) -> None:
    """The option is named."""
    assert main(['simulate', '--out', str(tmp_path / 'out'), option, '0']) == 2
    assert f'{option} must be 1 or more' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_failure_ends_all_processes(tmp_path: Path) -> None:
    """A scene that cannot be ends the command at once, in the midst of one that takes an hour."""
    with pytest.raises(InputError, match='a seed is 0 or more'):
        simulate_at_once(tmp_path, [(0, 4, 3600, False), (-1, 1, 1, False)], 2)
    assert not active_children()
