# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg benchmark`: the tables of README and docs, each by one command."""

from __future__ import annotations

from argparse import Namespace
import ast
from pathlib import Path
import runpy
import sys

from mvreg_ros.commands.console import say
from mvreg_ros.types import InputError

FOLDER = Path(__file__).parents[2] / 'benchmarks'


def run(args: Namespace) -> None:
    """List the tables, or measure one; raises InputError."""
    there = summaries()
    if not there:
        raise InputError('the benchmarks are not installed with the package: run '
                         '.venv/bin/mvreg benchmark in a clone after make setup')
    if not args.name:
        width = max(map(len, there))
        say('\n'.join(f'{name:{width}}  {summary}' for name, summary in there.items()))
        say('\nmvreg benchmark NAME --help tells what one measures and takes')
        return
    if args.name not in there:
        raise InputError(f'no table is called {args.name!r}, there are {", ".join(there)}')
    sys.path.insert(0, str(FOLDER.parent))
    sys.argv = [args.name, *args.arguments]
    # As python -m does it, so that processes that a benchmark starts find its functions.
    runpy.run_module(f'benchmarks.{args.name}', run_name='__main__', alter_sys=True)


def summaries() -> dict[str, str]:
    """Return the first paragraph of each module that measures something, by its name."""
    found = {}
    for path in sorted(FOLDER.glob('*.py')):
        text = path.read_text(encoding='utf-8')
        if "if __name__ == '__main__':" in text:
            paragraph = (ast.get_docstring(ast.parse(text)) or '').split('\n\n')[0]
            found[path.stem] = ' '.join(paragraph.split())
    return found
