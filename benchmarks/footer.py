# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands below every table: the machine, the versions, the commit and the time."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib import metadata
import os
from pathlib import Path
import platform
import re

from mvreg_ros.provenance import git_commit
import psutil
import torch

CPUINFO = Path('/proc/cpuinfo')


def publish(text: str, out: Path) -> None:
    """Print what was measured with the footer below it, and write both to a file."""
    text = f'{text.rstrip()}\n\n{footer()}\n'
    out.write_text(text)
    print(text)


def footer() -> str:
    """Return a line on the machine, the versions, the threads, the commit and the time."""
    memory = psutil.virtual_memory().total / 2**30
    versions = [f'{name} {version(*names)}' for name, *names in (
        ('torch', 'torch'), ('numpy', 'numpy'), ('open3d', 'open3d', 'open3d-cpu'))]
    commit = git_commit(Path(__file__).parent) or 'unknown'
    return '; '.join((
        f'{processor()}, {os.cpu_count()} cores, {memory:.1f} GiB',
        f'{system()}, Python {platform.python_version()}, ' + ', '.join(versions),
        f'OMP threads {torch.get_num_threads()}, load {os.getloadavg()[1]:.1f} in the last 5 min',
        f'commit {commit}', f'{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC'))


def processor() -> str:
    """Return the model of the processor."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ''
    found = re.search(r'^model name\s*: (.+)$', text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def system() -> str:
    """Return the operating system and its kernel."""
    try:
        name = platform.freedesktop_os_release()['PRETTY_NAME']
    except (OSError, KeyError):
        name = platform.system()
    return f'{name}, kernel {platform.release()}'


def version(*distributions: str) -> str:
    """Return the version of the first of some distributions that is installed, or 'none'."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return 'none'
