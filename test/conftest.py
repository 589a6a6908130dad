# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: checked messages, quick discovery, shared threads, no deadlines."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from hypothesis import settings

# Before rclpy and torch are imported, here or in a process that a test starts.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
os.environ['FASTDDS_DEFAULT_PROFILES_FILE'] = str(Path(__file__).with_name('fastdds.xml'))
WORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
os.environ.setdefault('OMP_NUM_THREADS', str(max(1, len(os.sched_getaffinity(0)) // WORKERS)))

# A Ray cluster listens on all interfaces, and runs what it is told: one of a test obeys that test.
os.environ.update(RAY_AUTH_MODE='token', RAY_AUTH_TOKEN=uuid4().hex, RAY_USAGE_STATS_ENABLED='0')

settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')
