# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where results come from: the commit of the code."""

from __future__ import annotations

from pathlib import Path
import subprocess


def git_commit(folder: Path) -> str:
    """
    Return the commit of the code in a folder, '' where it is in no git repository.

    It ends with -dirty where files differ from it.
    """
    try:
        done = subprocess.run(
            ('git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'), cwd=folder,
            capture_output=True, text=True)
    except OSError:
        return ''
    return done.stdout.strip()
