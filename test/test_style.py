# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The linters: ruff, mypy, and flake8, pep257 and copyright as ament configures them.

ament_copyright itself knows no SPDX header (ament_lint issues 246 and 462), so that the two lines
are looked for here.
"""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

from ament_flake8.main import main_with_errors as flake8
from ament_pep257.main import main as pep257
import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ('benchmarks', 'launch', 'mvreg_ros', 'setup.py', 'test', 'tools')
HEADER = '# Copyright 2026 The mvreg_ros authors\n# SPDX-License-Identifier: Apache-2.0\n'


def run(*command: str) -> None:
    """Run a Python tool in the repository; fail with what it printed."""
    done = subprocess.run(
        [sys.executable, '-m', *command], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_ruff() -> None:
    run('ruff', 'check', '.')


def test_mypy() -> None:
    run('mypy')


def test_ament_flake8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, errors = flake8(argv=list(SOURCES))
    assert code == 0, '\n'.join(errors)


def test_ament_pep257(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert pep257(argv=list(SOURCES)) == 0


def test_every_file_has_its_header() -> None:
    files = [ROOT / 'setup.py']
    for folder in SOURCES:
        files += (ROOT / folder).rglob('*.py')
    assert len(files) > 50
    for file in files:
        assert file.read_text().startswith(HEADER), file
    for wrapper in (ROOT / 'libexec').iterdir():
        assert wrapper.read_text().startswith('#!/usr/bin/env python3\n' + HEADER), wrapper
        assert os.access(wrapper, os.X_OK), wrapper
