# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import tempfile

from mvreg_ros.types import InputError


def write_atomic(path: Path, content: str | bytes) -> None:
    """
    Write `content` to `path` so that a crash leaves the old file or the new one, never a half.

    Raises InputError where the folder cannot be written to.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
        try:
            with os.fdopen(handle, 'wb') as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror}') from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make a folder and its parents so that they survive a power cut; raises OSError."""
    if exist_ok and path.is_dir():
        return
    if not path.parent.exists():
        make_folder(path.parent, exist_ok=True)
    path.mkdir(exist_ok=exist_ok)
    sync_folder(path.parent)


def read_text(path: Path) -> str:
    """Return the text of a file; raise InputError where it is missing or no UTF-8 text."""
    try:
        return path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise InputError(f'{path}: is not a text file') from error
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror}') from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """
    Yield a temporary folder that becomes `path` at the end, and vanishes if there is an exception.

    Raises InputError at once where `path` holds something or is a mount point, which cannot be
    replaced, or where its parent cannot be written.
    """
    path = path.resolve()
    temporary = _folder_beside(path)
    try:
        yield temporary
        try:
            temporary.chmod(0o755)
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError as error:
            raise InputError(f'{path}: cannot be written: {error.strerror}') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _folder_beside(path: Path) -> Path:
    try:
        if path.is_mount():
            raise InputError(f'{path}: is a mount point, name a folder inside it')
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f'{path}: exists and is not empty, name a new folder or remove it')
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=path.parent, prefix=f'.{path.name}.'))
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror}') from error
