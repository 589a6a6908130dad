# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A session on disk for tests, of fragments that have everything a fragment can have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import resource
import signal

from mvreg_ros.session.session import Session
from mvreg_ros.types import Fragment
import numpy as np

COUNT = 4


def fragment(k: int) -> Fragment:
    """Return a fragment with everything that a fragment can have."""
    rng = np.random.default_rng(k)
    points = rng.normal(size=(20 + k, 3)).astype(np.float32)
    return Fragment(
        points, id=k, stamp_ns=k * 1_000_000_007, frame_id=f'sensör "{k}"\n',
        name=f'fragment_{k:04d}', sensor_origin=rng.normal(size=3).astype(np.float32),
        T_map_fragment=rng.normal(size=(4, 4)) if k % 2 else None,
        T_odom_fragment=None if k % 2 else rng.normal(size=(4, 4)), odometry_run=k // 2)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes: a disk that is full for this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def write_session(directory: Path, count: int = COUNT) -> Path:
    """Write a session of `count` fragments and return its folder."""
    session = Session.create(directory)
    for k in range(count):
        session.append(fragment(k))
    session.close()
    return session.folder
