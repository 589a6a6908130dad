# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the pages name is there: files, modules, parameters and their values, topics, options."""

from __future__ import annotations

from argparse import _SubParsersAction
from importlib.util import find_spec
from pathlib import Path
import re

from documentation import PAGES, ROOT
from mvreg_ros.cli import build_parser
from mvreg_ros.node.interface import OUTPUTS, SERVICES, STATUS_TOPICS
from mvreg_ros.parameters import BY_NAME, PARAMETERS
from mvreg_ros.refusal import CURES
import pytest
import yaml

FOLDERS = '|'.join(
    path.name for path in sorted(ROOT.iterdir()) if path.is_dir() and path.name[0] != '.')
GROUPS = '|'.join(sorted({each.name.split('.')[0] for each in PARAMETERS if '.' in each.name}))
OWN_NAMES = {each.name for each in (*OUTPUTS, *STATUS_TOPICS, *SERVICES)}
COMMANDS, = (action.choices for action in build_parser()._actions
             if isinstance(action, _SubParsersAction))


def words_in_code(page: Path) -> list[str]:
    """Return what a page has between single backticks, outside of its blocks."""
    text = re.sub(r'^```.*?^```$', '', page.read_text(encoding='utf-8'), flags=re.M | re.S)
    return [' '.join(words.split()) for words in re.findall(r'`([^`]+)`', text)]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r'\]\(([^)#]+)', page.read_text(encoding='utf-8')):
        assert target.startswith('https://') or (page.parent / target).is_file(), target


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    for page in PAGES:
        assert page.name == 'README.md' or f']({page.relative_to(ROOT)})' in text


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_what_stands_in_code_is_there(page: Path) -> None:
    for code in words_in_code(page):
        if re.fullmatch(rf'({FOLDERS})/[\w/.]+\.\w+', code):
            assert (ROOT / code).is_file() or (ROOT / 'mvreg_ros' / code).is_file(), code
        if re.fullmatch(rf'({GROUPS})\.\w+', code):
            assert code in BY_NAME
        if re.fullmatch(r'~/\w+', code):
            assert code in OWN_NAMES or code == '~/mvreg_venv'
        if match := re.fullmatch(r'refused\.(\w+)', code):
            assert match[1] in CURES
        if match := re.search(r'python -m ([\w.]+)', code):
            assert find_spec(match[1]), code
        match = re.fullmatch(r'([\w.]+): ([^,]+)', code)
        if match and match[1] in BY_NAME and match[2] != 'FILE':
            BY_NAME[match[1]].check(yaml.safe_load(match[2]))
        match = re.match(r'mvreg (\w+)', code)
        if match:
            assert match[1] in COMMANDS, code
        if match and match[1] != 'benchmark':  # test_benchmark_command.py looks up theirs
            for option in re.findall(r'--[\w-]+', code):
                assert option in COMMANDS[match[1]]._option_string_actions, code
