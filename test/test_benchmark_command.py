# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg benchmark`: it lists and runs what docs/benchmarks.md lists, with a footer below."""

from __future__ import annotations

from pathlib import Path
import re
import sys

from benchmarks.footer import footer, publish
from mvreg_ros.cli import main
from mvreg_ros.commands import benchmark
import numpy
import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs/benchmarks.md').read_text(encoding='utf-8')
LISTED = {match[1]: match[2] for match in re.finditer(
    r'^\| `mvreg benchmark (\w+)([^`]*)` \|', PAGE, re.MULTILINE)}


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what a run changes for a process that ends with it."""
    monkeypatch.setattr(sys, 'argv', sys.argv)
    monkeypatch.setattr(sys, 'path', list(sys.path))


def modules() -> set[str]:
    """Return the modules of the folder that have a main."""
    return {path.stem for path in (ROOT / 'benchmarks').glob('*.py')
            if "__name__ == '__main__'" in path.read_text(encoding='utf-8')}


def test_the_page_lists_every_table() -> None:
    assert len(LISTED) > 10 and set(LISTED) == modules()


def test_without_a_name_the_tables_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main(['benchmark']) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = dict(line.split('  ', 1) for line in lines if '  ' in line)
    assert {name.strip() for name in rows} == modules()
    assert all(len(text.strip()) > 10 for text in rows.values())


@pytest.mark.parametrize('name', LISTED)
def test_each_has_help_and_the_options_on_the_page(
    name: str, capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(['benchmark', name, '--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f'mvreg benchmark {name}' in text
    for option in re.findall(r'--\w+', LISTED[name]):
        assert re.search(rf'^  {option}\b', text, re.MULTILINE), option


def test_one_is_run_and_says_what_it_was_measured_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:
    """With a process of its own, which has to find the function in the benchmark."""
    monkeypatch.chdir(tmp_path)
    assert main(['benchmark', 'pairs', '--points', '64', '--rounds', '1', '--batch', '1']) == 0
    text = (tmp_path / 'pairs.md').read_text()
    assert text in capsys.readouterr().out
    last = text.splitlines()[-1]
    assert last.split(';')[:3] == footer().split(';')[:3]


def test_the_footer(tmp_path: Path) -> None:
    text = footer()
    for known in (f'torch {torch.__version__}', f'numpy {numpy.__version__}', ' GiB; ',
                  f'OMP threads {torch.get_num_threads()}, '):
        assert known in text
    assert re.search(r'open3d \d|open3d none', text)
    assert re.search(r'; commit (\w{7,}(-dirty)?|unknown); \d{4}-\d\d-\d\d \d\d:\d\d UTC$', text)
    publish('| a |\n\n', tmp_path / 'table.md')
    assert (tmp_path / 'table.md').read_text().startswith('| a |\n\n' + text.split(';')[0])


@pytest.mark.parametrize(('arguments', 'cause', 'there'), [
    (['nothing'], "no table is called 'nothing', there are ablation, ", True),
    (['pairs'], 'the benchmarks are not installed with the package: run .venv/bin/mvreg', False),
    (['descriptor', 'nowhere'], 'no scenes there', True),
])
def test_refusals_are_one_line(
    arguments: list[str], cause: str, there: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
) -> None:
    if not there:
        monkeypatch.setattr(benchmark, 'FOLDER', tmp_path / 'benchmarks')
    assert main(['benchmark', *arguments]) == 2
    error = capsys.readouterr().err
    assert cause in error and error.count('\n') == 1
