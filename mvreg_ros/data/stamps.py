# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stamps of messages as nanoseconds, without loss."""

from __future__ import annotations

from typing import Protocol

from mvreg_ros.refusal import Refusal

SECOND = 1_000_000_000


class Stamp(Protocol):
    """A builtin_interfaces/Time of any library."""

    sec: int
    nanosec: int


def nanoseconds_from_stamp(stamp: Stamp) -> int:
    """Return nanoseconds since 1970; raise Refusal for what a clock never says."""
    if stamp.sec < 0 or stamp.nanosec >= SECOND:
        raise Refusal('bad_stamp', f'header.stamp is {stamp.sec} s and {stamp.nanosec} ns')
    return int(stamp.sec) * SECOND + int(stamp.nanosec)
