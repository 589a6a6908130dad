# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Numbered sessions in a folder: accepted fragments outlive the process, the power and full disks.

Nothing that was accepted is ever deleted or written over.
"""

from __future__ import annotations

from contextlib import suppress
import fcntl
import os
from pathlib import Path

from mvreg_ros.data.files import make_folder
from mvreg_ros.refusal import Refusal
from mvreg_ros.session.stored import (
    begin,
    begin_again,
    FRAGMENTS,
    is_session,
    JOURNAL,
    read_session,
    store,
)
from mvreg_ros.types import Fragment, InputError

PREFIX = 'session_'


class Session:
    """
    A session that is open for this process alone.

    folder: of the session. found: what was in it when it was opened.
    """

    def __init__(self, folder: Path) -> None:
        """Open a session; raises Refusal where that is not possible."""
        self.folder = folder
        try:
            self._lock = (folder / JOURNAL).open('rb', buffering=0)
        except OSError as error:
            raise Refusal('disk', f'{folder} cannot be read, {error.strerror}') from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise Refusal('in_use', f'{folder} is open in another node') from error
        except OSError:
            pass  # some network disks know no locks
        try:
            self.found = read_session(folder)
            if not self._lock.seek(0, os.SEEK_END):
                begin_again(folder)
        except Refusal:
            self.close()
            raise
        self._number = self.found.next_number

    @classmethod
    def create(cls, directory: Path) -> Session:
        """
        Open a new session in `directory`, which is made with its parents if need be.

        Raises Refusal where that cannot be written; nothing is left of it then.
        """
        try:
            make_folder(directory, exist_ok=True)
            folder = _new_folder(directory)
            try:
                make_folder(folder / FRAGMENTS)
                begin(folder)
            except (OSError, Refusal):
                _remove_empty(folder)
                raise
        except OSError as error:
            raise Refusal('disk', f'{directory} cannot be written, {error.strerror}') from error
        return cls(folder)

    @property
    def untouched(self) -> bool:
        """Return whether nothing was ever written to the session."""
        return self._number == 0

    def append(self, fragment: Fragment) -> None:
        """
        Return when the fragment is on the disk.

        Raises Refusal where it cannot be written; the session is then as it was before.
        """
        # A number is used once, even where its entry could not be written.
        number, self._number = self._number, self._number + 1
        store(self.folder, number, fragment)

    def close(self) -> None:
        """Let others open the session."""
        self._lock.close()


def last_session(directory: Path) -> Path | None:
    """
    Return the folder of the last session in a directory; None if there is none.

    Raises Refusal where that cannot be said.
    """
    try:
        folders = _numbered(directory)
        return next((folders[number] for number in sorted(folders, reverse=True)
                     if is_session(folders[number])), None)
    except OSError as error:
        raise Refusal('disk', f'{directory} cannot be read, {error.strerror}') from error


def _numbered(directory: Path) -> dict[int, Path]:
    """Return by number what bears the name of a session; raises OSError but where nothing is."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return {}
    return {int(number): directory / name for name in names if name.startswith(PREFIX)
            and (number := name.removeprefix(PREFIX)).isdecimal()}


def _new_folder(directory: Path) -> Path:
    """Make the folder of the next session, which another node may do too; raises OSError."""
    number = max(_numbered(directory), default=0) + 1
    while True:
        folder = directory / f'{PREFIX}{number:04d}'
        try:
            make_folder(folder)
            return folder
        except FileExistsError:
            number += 1


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a session that could not begin, if nothing is in it."""
    if not is_session(folder):
        for made in (folder / FRAGMENTS, folder):
            with suppress(OSError):
                made.rmdir()


def expanded(directory: str) -> Path:
    """Return an absolute path without ~; raises InputError where there is no such home."""
    try:
        return Path(directory).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(f'session.directory {directory}: {error}: name another folder') from error
