# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot does between two poses by its odometry, and what no robot does."""

from __future__ import annotations

from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import FloatArray
import numpy as np

# Metres and radians a second that no robot exceeds in what can be registered, and what odometry
# may correct itself by at once.
MAX_SPEED, MAX_TURN = 15.0, 15.0
MAX_CORRECTION, MAX_ANGLE_CORRECTION = 0.3, 0.5
# Odometry that is set back is at the identity, or is so near to it after so many seconds of
# silence. One that runs passes the identity in small steps.
ORIGIN, SILENCE = 0.1, 1.0
STEP = 0.05  # metres or radians


def motion(T_a: FloatArray, T_b: FloatArray) -> tuple[float, float]:
    """Return how far (m) and by which angle (rad) it is from one pose to another."""
    T_a_b = np.linalg.inv(T_a) @ T_b
    return float(np.linalg.norm(T_a_b[:3, 3])), float(rotation_angle(T_a_b[:3, :3]))


def jumps(T_before: FloatArray, T_after: FloatArray, seconds: float) -> bool:
    """Return whether nothing moves so between two poses so many seconds apart."""
    distance, angle = motion(T_before, T_after)
    seconds = min(seconds, SILENCE)  # else silence would excuse every jump
    return (
        distance > MAX_CORRECTION + MAX_SPEED * seconds
        or angle > MAX_ANGLE_CORRECTION + MAX_TURN * seconds
    )


def is_set_back(T_before: FloatArray, T_after: FloatArray, seconds: float) -> bool:
    """Return whether odometry is at its origin again, other than by driving there."""
    distance, angle = motion(T_before, T_after)
    if np.allclose(T_after, np.eye(4), rtol=0, atol=1e-6):
        return distance > STEP or angle > STEP
    moved = distance > MAX_CORRECTION or angle > MAX_ANGLE_CORRECTION
    return seconds > SILENCE and moved and bool(np.linalg.norm(T_after[:3, 3]) < ORIGIN)
