# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where `~/save` writes to."""

from __future__ import annotations

from pathlib import Path

from mvreg_ros.data.outputs import write_results
from mvreg_ros.node.outputs import Result
from mvreg_ros.parameters import Value
from mvreg_ros.types import InputError


def save(result: Result, parameters: dict[str, Value]) -> Path:
    """
    Write `result` to the next numbered folder of session.directory and return its absolute path.

    Raises InputError if there is no result, or the folder cannot be written.
    """
    if not result.fragments:
        raise InputError('nothing to save: call ~/register first')
    parent = Path(str(parameters['session.directory'])).expanduser().absolute()
    numbers = [int(folder.name) for folder in parent.glob('*') if folder.name.isdecimal()]
    folder = parent / f'{max(numbers, default=0) + 1:04d}'
    write_results(folder, result.fragments, result.registration, parameters)
    return folder
