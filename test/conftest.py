# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: checked messages, threads shared between workers, no deadlines."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings
import pytest
from real_data import find_real_data

# Before rclpy and torch are imported, here or in a process that a test starts.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
os.environ.setdefault('OMP_NUM_THREADS', str(max(1, len(os.sched_getaffinity(0)) // WORKERS)))

settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')


@pytest.fixture(scope='session')
def real_data_root() -> Path | None:
    """Return the folder of real data, or None on a stranger's machine; in CI it must be there."""
    return find_real_data()
