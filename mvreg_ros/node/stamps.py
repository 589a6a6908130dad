# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds as stamps of messages."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from mvreg_ros.data.stamps import SECOND


def stamp_from_nanoseconds(nanoseconds: int) -> Time:
    """Return the stamp of `nanoseconds` since 1970."""
    sec, nanosec = divmod(nanoseconds, SECOND)
    return Time(sec=sec, nanosec=nanosec)
