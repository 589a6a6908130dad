# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `mvreg train` writes down about where weights come from."""

from __future__ import annotations

from pathlib import Path
import subprocess
from types import SimpleNamespace
from typing import Any

from mvreg_ros.cli import main
from mvreg_ros.commands import train
from mvreg_ros.provenance import git_commit
import pytest
from safetensors import safe_open
from tiny_stage import TinyStage
import yaml


def git(folder: Path, *words: str) -> str:
    """Run git in a folder and return what it says."""
    command = ('git', '-c', 'user.name=test', '-c', 'user.email=test@localhost', *words)
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_code_that_is_not_committed_is_dirty(tmp_path: Path) -> None:
    """Whatever tags there are; a folder without git has no commit."""
    assert git_commit(tmp_path) == ''
    git(tmp_path, 'init')
    (tmp_path / 'code').write_text('a')
    git(tmp_path, 'add', 'code')
    git(tmp_path, 'commit', '-m', 'one')
    git(tmp_path, 'tag', '-a', '1.0.0', '-m', 'tag')
    commit = git(tmp_path, 'rev-parse', 'HEAD')
    assert git_commit(tmp_path) == commit
    (tmp_path / 'code').write_text('b')
    assert git_commit(tmp_path) == f'{commit}-dirty'


def test_the_clock_starts_before_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stage that takes two hours to build took two hours to train."""
    clock = [0.0]

    class SlowStage(TinyStage):
        @classmethod
        def build(cls, config: Any, folder: Path) -> SlowStage:
            clock[0] += 7200
            return cls()

    monkeypatch.setattr(train, 'time', SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(train, 'stage_class', lambda stage, values: SlowStage)
    (tmp_path / 'slow.yaml').write_text(yaml.safe_dump({
        'data': {'train': [], 'validation': []},
        'loop': {'steps': 2, 'rate': 0.1, 'device': 'cpu'}}))
    assert main(['train', 'features', '--config', str(tmp_path / 'slow.yaml'),
                 '--out', str(tmp_path / 'out')]) == 0
    with safe_open(tmp_path / 'out/weights.safetensors', framework='pt') as file:
        assert file.metadata()['hours'] == '2'
