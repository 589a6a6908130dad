# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor, asked in interpreters of its own where modules are hidden or broken for real."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

from mvreg_ros.doctor import check, check_module, main
import pytest

ROOT = Path(__file__).parents[1]


def doctor(folder: Path) -> tuple[int, dict[str, str]]:
    """Return the exit code and the line of each row, with `folder` first on the module path."""
    done = subprocess.run(
        [sys.executable, '-m', 'mvreg_ros.cli', 'doctor'], capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': f'{folder}:{ROOT}'})
    assert not done.stderr
    return done.returncode, {line.split()[1]: line for line in done.stdout.splitlines()[:-1]}


def test_nothing_is_missing_in_the_test_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row for row in check() if not row.ok] == []
    assert main() == 0
    assert capsys.readouterr().out.endswith('nothing is missing\n')


def test_missing_and_broken_modules_have_a_cure(tmp_path: Path) -> None:
    (tmp_path / 'torch.py').write_text("raise ModuleNotFoundError('gone', name='torch')\n")
    (tmp_path / 'open3d.py').write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file')\n")
    (tmp_path / 'tqdm.py').write_text('import no_such_module\n')
    (tmp_path / 'rclpy.py').write_text("raise ImportError('librcl_action.so: cannot open')\n")
    code, rows = doctor(tmp_path)
    assert code == 1
    assert rows['torch'] == f'{"MISSING":8}{"torch":20}not installed  ->  pip install torch'
    assert rows['device'].startswith('MISSING')
    assert rows['open3d'].endswith('->  sudo apt-get install libgl1')
    assert rows['tqdm'].endswith('->  pip install no_such_module')
    assert rows['rclpy'].startswith('MISSING')
    assert 'source a ROS 2 installation' in rows['rclpy']
    assert rows['numpy'].startswith('ok')
    assert 'middleware' not in rows


def test_what_is_optional_may_be_missing() -> None:
    row = check_module('no_such_module', 'get it there', required=False)
    assert (row.ok, row.found, row.cure) == (True, 'not installed', 'get it there')


def test_the_native_kernel_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is switched off, that is said, and how to have it."""
    monkeypatch.setenv('MVREG_NATIVE', '0')
    code, rows = doctor(tmp_path)
    assert code == 0
    assert rows['native'].startswith('ok')
    assert 'switched off by MVREG_NATIVE=0  ->  sparse convolution in half' in rows['native']


def test_the_set_up_reads_it_before_anything_is_installed() -> None:
    """tools/setup_env.py runs the file on a Python that has nothing, not even this package."""
    file = Path(__file__).parents[1] / 'mvreg_ros' / 'doctor.py'
    code = f"import runpy; print(runpy.run_path({str(file)!r})['DEBIAN_PACKAGES']['libGL.so.1'])"
    done = subprocess.run(
        (sys.executable, '-I', '-S', '-c', code), capture_output=True, text=True, cwd='/')
    assert done.stdout == 'libgl1\n', done.stderr
