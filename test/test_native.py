# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The native kernel: how it is built, kept, and done without."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

from mvreg_ros.native import library
from native_kernel import require_kernel
import pytest

ROOT = Path(__file__).parents[1]
# Prints what a process says of its kernel, and the sum of a convolution.
SCRIPT = """
import torch
from mvreg_ros.sparse.engine import open_engine
from mvreg_ros.native.library import native_kernel
engine = open_engine('torch', torch.cartesian_prod(*[torch.arange(n) for n in (1, 4, 4, 4)]))
print(engine.convolve(torch.ones(64, 8), torch.ones(27, 8, 5), 1, 1).sum().item())
print(native_kernel().status)
"""
SUM = 1000 * 8 * 5.0  # ten neighbours along each axis of four voxels


def start(cache: Path, **more: str) -> subprocess.Popen[str]:
    """Run the script in a process with a cache of its own."""
    path = f'{ROOT}:{os.environ.get("PYTHONPATH", "")}'
    return subprocess.Popen(
        [sys.executable, '-c', SCRIPT], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': path, 'XDG_CACHE_HOME': str(cache), **more})


def status(process: subprocess.Popen[str]) -> str:
    """Return what the process says of its kernel, after a convolution that is right."""
    out, errors = process.communicate()
    assert not errors
    total, kernel = out.splitlines()
    assert float(total) == SUM
    return kernel


@pytest.fixture(scope='module', autouse=True)
def kernel() -> None:
    """Say so where there is no kernel to test."""
    require_kernel()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of kernels, empty."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path / 'mvreg_ros'


def test_it_is_compiled_once(cache: Path) -> None:
    """The second time finds what the first one left, and nothing else is left."""
    first = library.open_kernel()
    assert first.library
    made, = cache.iterdir()
    assert first.status == str(made)
    stamp = made.stat().st_mtime_ns
    assert library.open_kernel().status == str(made)
    assert made.stat().st_mtime_ns == stamp
    assert list(cache.iterdir()) == [made]


@pytest.mark.parametrize('damage', ['empty', 'cut off', 'one byte'])
def test_a_broken_library_is_built_again(damage: str, cache: Path) -> None:
    """Loading it could end the process."""
    path = Path(library.open_kernel().status)
    good = path.read_bytes()
    path.unlink()  # this process has it in memory
    path.write_bytes({'empty': b'', 'cut off': good[:5000],
                      'one byte': good[:-1] + bytes([good[-1] ^ 1])}[damage])
    kernel = library.open_kernel()
    assert kernel.library
    assert Path(kernel.status).read_bytes() == good


def test_a_compiler_that_fails_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last line it said; nothing is left behind."""
    compiler = cache.parent / 'bin/cc'
    compiler.parent.mkdir()
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo no space >&2; exit 1; }\n')
    compiler.chmod(0o755)
    monkeypatch.setenv('PATH', str(compiler.parent))
    assert library.open_kernel() == library.NativeKernel(None, f'{compiler} failed: no space')
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.touch()
    kernel = library.open_kernel()
    assert kernel.library is None
    assert str(cache) in kernel.status


@pytest.mark.parametrize(('mode', 'owner'), [(0o720, 0), (0o702, 0), (0o700, 1)])
def test_a_cache_that_others_can_write_to_is_not_used(
    mode: int, owner: int, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they put there would run as this user."""
    made = Path(library.open_kernel().status)
    cache.chmod(mode)
    monkeypatch.setattr(os, 'geteuid', lambda: made.stat().st_uid + owner)
    kernel = library.open_kernel()
    assert kernel.library is None
    assert kernel.status == f'others can write to {cache}: remove it or set XDG_CACHE_HOME'


def test_a_user_without_a_home_has_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: no HOME, and a user of no name."""
    monkeypatch.delenv('HOME')
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setattr('pwd.getpwuid', {}.__getitem__)
    assert 'no home folder: set XDG_CACHE_HOME' in library.open_kernel().status


def test_it_is_switched_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MVREG_NATIVE', '0')
    assert library.open_kernel() == library.NativeKernel(None, 'switched off by MVREG_NATIVE=0')
    assert not cache.exists()


def test_without_a_compiler_torch_does_the_work(tmp_path: Path) -> None:
    assert status(start(tmp_path, PATH='')) == 'no C compiler (cc, gcc, clang)'


def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    """Both have the kernel; one file is there in the end."""
    found = {status(process) for process in [start(tmp_path), start(tmp_path)]}
    assert found == {str(file) for file in (tmp_path / 'mvreg_ros').iterdir()}
    assert len(found) == 1
