# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the real data is. A machine may lack it; the tests that need it then say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def find_real_data() -> Path | None:
    """Return the folder of real data, MVREG_DATA or ../shared/data, or None where none is."""
    named = os.environ.get('MVREG_DATA')
    folder = Path(named) if named else REPOSITORY.parent / 'shared' / 'data'
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f'the real data is not at {folder}')
    return None


def real_data(folder: str) -> Path:
    """Return a folder of the real data; skip, with the cure, where there is none."""
    root = find_real_data()
    if root is None:
        pytest.skip('golden figures need the real data: set MVREG_DATA to its folder')
    return root / folder
