# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The core works where there is no ROS: seen by importing it all with ROS made unimportable."""

from __future__ import annotations

from pathlib import Path
import pkgutil
import subprocess
import sys

import mvreg_ros

IMPORT_WITHOUT_ROS = """
import importlib, sys

class NoRos:
    def find_spec(self, name, path=None, target=None):
        package = name.split('.')[0]
        if package.startswith(('rcl', 'rmw', 'rosidl', 'tf2_', 'launch')) or package.endswith(
                ('_msgs', '_srvs', '_interfaces', '_msgs_py', 'tf_transformations')):
            raise ModuleNotFoundError(f'{name} is blocked', name=name)

sys.meta_path.insert(0, NoRos())
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({name.split('.')[0] for name in sys.modules}))
"""


def test_the_core_is_imported_without_ros() -> None:
    modules = [
        module.name for module in pkgutil.walk_packages(mvreg_ros.__path__, 'mvreg_ros.')
        if not module.name.startswith('mvreg_ros.node')
    ]
    assert len(modules) > 30
    done = subprocess.run(
        [sys.executable, '-c', IMPORT_WITHOUT_ROS, *modules], capture_output=True, text=True,
        cwd=Path(mvreg_ros.__file__).parents[1])
    assert done.returncode == 0, done.stderr
    imported = done.stdout.split()
    assert 'torch' in imported
    assert 'rclpy' not in imported
