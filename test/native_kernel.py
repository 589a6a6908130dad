# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the native kernel begin with."""

from __future__ import annotations

from mvreg_ros.native.library import native_kernel
import pytest


def require_kernel() -> None:
    """Compare nothing with itself: skip where there can be no kernel, fail where there is none."""
    found = native_kernel()
    if 'no C compiler' in found.status or 'switched off' in found.status:
        pytest.skip(f'{found.status}: sudo apt-get install gcc libc6-dev')
    assert found.library, found.status
