# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The native kernel, inner loops in C: compiled at its first use, where there is a compiler.

It is kept in the user's cache folder. Without a compiler, or where the user cannot write there or
others can, torch alone computes the same; the environment variable MVREG_NATIVE=0 asks for that.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
import logging
import os
from pathlib import Path
import platform
import shutil
from stat import S_IWGRP, S_IWOTH
import subprocess
from tempfile import TemporaryDirectory
from threading import Lock

LOGGER = logging.getLogger(__name__)
SOURCES = sorted(Path(__file__).parent.glob('*.c'))
COMPILERS = ('cc', 'gcc', 'clang')
FLAGS = ('-O3', '-march=native', '-fno-math-errno', '-shared', '-fPIC')
COMPILER_SECONDS = 120
POINTER, SIZE, FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
SIGNATURES = {
    'find_pairs': (POINTER, POINTER, SIZE, POINTER, SIZE, POINTER, POINTER, POINTER),
    'convolve': (POINTER, SIZE, POINTER, SIZE, SIZE, POINTER, SIZE, POINTER, POINTER, POINTER,
                 SIZE, SIZE, POINTER, SIZE),
    'kernel_gradient': (
        POINTER, SIZE, POINTER, SIZE, POINTER, POINTER, POINTER, SIZE, POINTER),
    'search_runs': (
        POINTER, SIZE, POINTER, POINTER, SIZE, POINTER, FLOAT, POINTER, POINTER, POINTER),
    'covariances': (POINTER, POINTER, SIZE, POINTER, POINTER, POINTER),
    'cylinder_moments': (
        POINTER, POINTER, POINTER, SIZE, POINTER, POINTER, FLOAT, POINTER),
    'simplified_histograms': (
        POINTER, SIZE, SIZE, SIZE, POINTER, POINTER, POINTER, POINTER, SIZE, POINTER),
    'weighted_histograms': (
        POINTER, SIZE, SIZE, SIZE, POINTER, POINTER, POINTER, POINTER, SIZE, POINTER),
}
LOCK = Lock()


@dataclass(frozen=True)
class NativeKernel:
    """The compiled functions and the file they are in; or None, and why there are none."""

    library: ctypes.CDLL | None
    status: str


class UnavailableError(Exception):
    """Why there is no native kernel, in a line."""


def native_kernel() -> NativeKernel:
    """Return the kernel of this process; the first call may compile it."""
    with LOCK:  # one compiler is enough
        return _kernel()


@cache
def _kernel() -> NativeKernel:
    """Open the kernel once."""
    found = open_kernel()
    LOGGER.debug('native kernel: %s', found.status)
    return found


def open_kernel() -> NativeKernel:
    """Find or compile the library and load it; what goes wrong is in the status."""
    try:
        path = _find()
        library = ctypes.CDLL(str(path))
        for name, types in SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, None
    except (UnavailableError, OSError) as error:
        return NativeKernel(None, str(error))
    return NativeKernel(library, str(path))


def _find() -> Path:
    """Return the library for these sources, compiler and processor; compile it if need be."""
    if os.environ.get('MVREG_NATIVE') == '0':
        raise UnavailableError('switched off by MVREG_NATIVE=0')
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise UnavailableError(f'no C compiler ({", ".join(COMPILERS)})')
    sources = [path.read_text() for path in SOURCES]
    parts = (*sources, *FLAGS, _run(compiler, '--version'), _processor())
    key = _digest('\n'.join(parts).encode())
    folder = _folder()
    # A name tells the content as well: what a crash or a full disk left half-written is not used.
    for path in folder.glob(f'native-{key}-*.so'):
        if path.stem.endswith(_digest(path.read_bytes())):
            return path
    with TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / 'native.so'
        _run(compiler, *FLAGS, '-o', str(made), *map(str, SOURCES))
        return made.rename(folder / f'native-{key}-{_digest(made.read_bytes())}.so')


def _folder() -> Path:
    """Return the folder of kernels: there, and nobody else can put a library into it."""
    try:
        caches = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    except RuntimeError as error:
        raise UnavailableError('this user has no home folder: set XDG_CACHE_HOME') from error
    folder = caches / 'mvreg_ros'
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (S_IWGRP | S_IWOTH):
        raise UnavailableError(f'others can write to {folder}: remove it or set XDG_CACHE_HOME')
    return folder


def _run(compiler: str, *arguments: str) -> str:
    """Return what the compiler prints; raise UnavailableError where it fails."""
    try:
        done = subprocess.run([compiler, *arguments], capture_output=True, text=True,
                              errors='replace', timeout=COMPILER_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f'{compiler} took over {COMPILER_SECONDS} s') from error
    if done.returncode:
        last = done.stderr.strip().split('\n')[-1]
        raise UnavailableError(f'{compiler} failed: {last}')
    return done.stdout


def _processor() -> str:
    """Return what -march=native depends on."""
    try:
        lines = Path('/proc/cpuinfo').read_text().split('\n')
    except OSError:
        return platform.platform() + platform.processor()
    flags = [line for line in lines if line.startswith(('flags', 'Features'))]
    return platform.machine() + ''.join(flags[:1])


def _digest(content: bytes) -> str:
    """Return a short checksum."""
    return sha256(content).hexdigest()[:16]
