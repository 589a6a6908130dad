# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The examples in README.md and docs/, and the calls that bash makes of them.

A block is run by bash, where every program is a stand-in that writes down how it was called: so
quotes, line ends, substitutions and `&&` are those that a reader's shell sees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

from mvreg_ros.cli import EXAMPLES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')])
WORD, CALL = '\x1f', '\x1e'  # what ends them in the file of calls
STAND_IN = r"""#!/bin/sh
printf '%s\037' "${0##*/}" "$@" >> "$CALLS"
printf '\036' >> "$CALLS"
case "${0##*/} $*" in
  'ros2 pkg prefix --share mvreg_ros') echo "$ROOT" ;;
  'python3 -c '*) exec "$PYTHON" "$@" ;;
esac
"""
# What a sourced file does is not of interest, but that bash gets as far as that.
PRELUDE = """
source() { printf '%s\\037' source "$1" >> "$CALLS"; printf '\\036' >> "$CALLS"; }
.() { source "$1"; }
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """Return where it stands."""
        return f'{self.page}:{self.line}'


def blocks(language: str) -> list[Block]:
    """Return the blocks whose language fits; those of the shell with the examples of the cli."""
    found = [
        Block(page.name, text[:match.start()].count('\n') + 1, match[1], match[2])
        for page in PAGES for text in [page.read_text(encoding='utf-8')]
        for match in re.finditer(r'^```(\w*)\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)]
    found += [Block('mvreg --help', number, 'bash', line)
              for number, line in enumerate(EXAMPLES.splitlines()) if line.startswith(' ')]
    return [block for block in found if re.fullmatch(language, block.language)]


def calls(block: Block, folder: Path, programs: Iterable[str]) -> list[list[str]]:
    """Run a block in `folder`; return the calls, each the name of a program and its arguments."""
    stand_ins, venv, file = folder / 'stand_ins', folder / '.venv/bin', folder / 'calls'
    stand_ins.mkdir()
    venv.mkdir(parents=True)
    (folder / 'mvreg_ros').mkdir()  # as git clone leaves it
    for name in programs:
        for place in (stand_ins, venv):
            (place / name).write_text(STAND_IN)
            (place / name).chmod(0o755)
    file.touch()
    done = subprocess.run(
        [shutil.which('bash') or '/bin/bash', '-e', '-u', '-c', PRELUDE + block.text], cwd=folder,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={'PATH': str(stand_ins), 'HOME': str(folder), 'CALLS': str(file), 'ROOT': str(ROOT),
             'PYTHON': sys.executable, 'ROS_DISTRO': 'kilted', 'AMENT_PREFIX_PATH': '/opt/ros',
             'PYTHONPATH': os.environ.get('PYTHONPATH', '')})
    assert done.returncode == 0, f'{block}: {done.stdout}'
    return [call.split(WORD)[:-1] for call in file.read_text().split(CALL)[:-1]]
