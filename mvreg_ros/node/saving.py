# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where `~/save` writes to."""

from __future__ import annotations

from pathlib import Path

from mvreg_ros.data.outputs import write_results
from mvreg_ros.node.outputs import Result
from mvreg_ros.session.session import Session
from mvreg_ros.types import InputError


def save(result: Result, session: Session | None) -> Path:
    """
    Write `result` to the next numbered folder of a session and return its absolute path.

    Raises InputError if there is no result, or the folder cannot be written.
    """
    if session is None or not result.fragments:
        raise InputError('nothing to save: call ~/register first')
    try:
        saved = [int(path.name) for path in session.folder.iterdir() if path.name.isdecimal()]
    except OSError as error:
        raise InputError(
            f'{session.folder}: cannot be read: {error.strerror}; put it back and make it '
            'readable, or call ~/reset to begin a new session') from error
    folder = session.folder / f'{max(saved, default=0) + 1:04d}'
    write_results(folder, result.fragments, result.registration, result.parameters)
    return folder
