# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stamps of messages as nanoseconds and back, without loss."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from mvreg_ros.node.refusal import Refusal

SECOND = 1_000_000_000


def nanoseconds_from_stamp(stamp: Time) -> int:
    """Return nanoseconds since 1970; raise Refusal if the stamp would not come back the same."""
    if stamp.nanosec >= SECOND:
        raise Refusal('bad_stamp', f'header.stamp.nanosec is {stamp.nanosec}')
    return stamp.sec * SECOND + stamp.nanosec


def stamp_from_nanoseconds(nanoseconds: int) -> Time:
    """Return the stamp of `nanoseconds` since 1970."""
    sec, nanosec = divmod(nanoseconds, SECOND)
    return Time(sec=sec, nanosec=nanosec)
