# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The ROS shell: no mathematics in it, and the files that equal its tables."""

from __future__ import annotations

import ast
from pathlib import Path

from mvreg_ros.node.docs import PAGES, parameters_yaml, tables, with_tables
from mvreg_ros.node.interface import OUTPUTS
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SHELL = sorted((ROOT / 'mvreg_ros' / 'node').glob('*.py'))
MATHEMATICS = {'torch', 'scipy', 'small_gicp', 'gtsam', 'open3d', 'numpy.linalg'}


def imports(tree: ast.AST) -> set[str]:
    """Return the modules that a file imports, with the packages they are in."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f'{node.module}.{alias.name}' for alias in node.names}
    return modules | {module.split('.')[0] for module in modules}


@pytest.mark.parametrize('file', SHELL, ids=lambda file: file.stem)
def test_the_shell_has_no_mathematics(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding='utf-8'))
    assert not imports(tree) & MATHEMATICS
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Attribute) and node.attr == 'linalg')
        assert not isinstance(node, ast.MatMult)


def test_the_parameter_file_equals_the_table() -> None:
    text = (ROOT / 'config' / 'register.yaml').read_text(encoding='utf-8')
    assert text == parameters_yaml(), 'run python -m mvreg_ros.node.docs'


def test_the_pages_equal_the_tables() -> None:
    pages = [(ROOT / page).read_text(encoding='utf-8') for page in PAGES]
    for name in tables():
        assert ''.join(pages).count(f'<!-- begin:{name} -->') == 1
        assert ''.join(pages).count(f'<!-- end:{name} -->') == 1
    for text in pages:
        assert text == with_tables(text), 'run python -m mvreg_ros.node.docs'


def test_tables_are_put_between_their_markers() -> None:
    text = 'a\n<!-- begin:frames -->\nold\n<!-- end:frames -->\nb\n'
    new = with_tables(text)
    assert new.startswith('a\n<!-- begin:frames -->\n| frame |')
    assert new.endswith('|\n<!-- end:frames -->\nb\n')
    assert 'old' not in new
    assert with_tables(new) == new


def test_each_launch_argument_has_a_default_and_a_description() -> None:
    tree = ast.parse((ROOT / 'launch' / 'register.launch.py').read_text(encoding='utf-8'))
    arguments = {
        ast.literal_eval(call.args[0]): {keyword.arg for keyword in call.keywords}
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == 'DeclareLaunchArgument'
    }
    assert arguments.keys() == {
        'namespace', 'params_file', 'use_sim_time', 'log_level', 'fragments', 'frames', 'rviz'}
    for keywords in arguments.values():
        assert keywords >= {'default_value', 'description'}


def test_rviz_listens_to_what_is_latched() -> None:
    config = yaml.safe_load((ROOT / 'config' / 'register.rviz').read_text(encoding='utf-8'))
    topics = [
        display['Topic'] for display in config['Visualization Manager']['Displays']
        if 'Topic' in display
    ]
    outputs = {topic.name.replace('~', 'mvreg') for topic in OUTPUTS}
    assert {topic['Value'] for topic in topics} == outputs - {'mvreg/graph'}
    for topic in topics:
        assert topic['Durability Policy'] == 'Transient Local'
        assert topic['Reliability Policy'] == 'Reliable'
