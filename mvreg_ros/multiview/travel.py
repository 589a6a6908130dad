# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far a robot has come and turned, by what the sensors on it say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import FloatArray
import numpy as np


def travelled(stamps_ns: Index, sensors: Sequence[str], T_odom_sensor: FloatArray) -> FloatArray:
    """
    Return (M, 2) the length (m) and the turns (rad) of a robot's way up to each of M poses.

    stamps_ns: (M,) not decreasing. sensors: which of those on the robot each pose (M, 4, 4) is of.
    A sensor tells of the motion between two poses of its own, here spread over the time between
    them; of several the one that moved most counts. Where no sensor tells, the way from one sensor
    to the next is taken for the robot's.
    """
    steps = np.full((max(0, len(T_odom_sensor) - 1), 2), np.nan)
    names = np.array(sensors)
    for name in np.unique(names):
        for a, b in pairwise(np.flatnonzero(names == name)):
            seconds = np.diff(stamps_ns[a:b + 1]).astype(np.float64)
            share = seconds / seconds.sum() if seconds.any() else np.full(b - a, 1 / (b - a))
            own = share[:, None] * motions(T_odom_sensor[a], T_odom_sensor[b])
            steps[a:b] = np.fmax(steps[a:b], own)
    others = motions(T_odom_sensor[:-1], T_odom_sensor[1:])
    steps = np.where(np.isnan(steps), others, steps)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def motions(T_a: FloatArray, T_b: FloatArray) -> FloatArray:
    """Return (..., 2) how far (m) and by which angle (rad) it is from poses to others."""
    distance = np.linalg.norm(T_b[..., :3, 3] - T_a[..., :3, 3], axis=-1)
    turn = rotation_angle(np.swapaxes(T_a[..., :3, :3], -1, -2) @ T_b[..., :3, :3])
    return np.stack([distance, turn], -1)
