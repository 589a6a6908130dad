# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The small form of the demo, end to end: three processes, real DDS."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys

from mvreg_ros.data.clouds import read_cloud
from node_session import domain
import numpy as np

ROOT = Path(__file__).parents[1]
FILES = {
    'poses.tum', 'graph.g2o', 'graph.json', 'map.ply', 'fragments.csv', 'config.yaml',
    'report.html', 'map.png',
}


def test_the_small_demo_places_every_fragment_with_small_errors(tmp_path: Path) -> None:
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain()), 'PYTHONPATH': str(ROOT)}
    folder = tmp_path / "a flat: it's #1"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, '-m', 'mvreg_ros.node.demo', '--small'], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert 'fragments placed  6 of 6' in done.stdout
    assert 'position error' in done.stdout

    out = folder / 'demo_out'
    assert {file.name for file in out.iterdir()} == FILES
    assert len(np.loadtxt(out / 'poses.tum')) == 6
    nodes = json.loads((out / 'graph.json').read_text())['nodes']
    assert [node['placed'] for node in nodes] == [True] * 6
    assert len(read_cloud(out / 'map.ply')) > 10000
    assert (out / 'map.png').stat().st_size > 100_000
