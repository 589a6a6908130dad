# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry of a walk that is known: honest, worse, and wrong in several ways."""

from __future__ import annotations

from collections.abc import Callable

from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import FloatArray
import numpy as np
from scipy.spatial.transform import Rotation

# Of good odometry: of a metre, and radians of a metre or of a radian, per axis.
LENGTH_DRIFT, TURN_DRIFT = 0.02, 0.02

Odometry = Callable[[np.random.Generator, FloatArray], FloatArray]


def chained(steps: FloatArray) -> FloatArray:
    """Return (S, 4, 4) poses from the motions (S - 1, 4, 4) from each to the next."""
    poses = [np.eye(4)]
    for step in steps:
        poses.append(poses[-1] @ step)
    return np.stack(poses)


def motions(poses: FloatArray) -> FloatArray:
    """Return (S - 1, 4, 4) the motions from each pose to the next."""
    return np.linalg.inv(poses[:-1]) @ poses[1:]


def drifting(rng: np.random.Generator, truth: FloatArray, times: float = 1.0) -> FloatArray:
    """Return odometry that drifts at random, so many times as much as good odometry."""
    steps = motions(truth)
    length = np.linalg.norm(steps[:, :3, 3], axis=1)
    turn = rotation_angle(steps[:, :3, :3])
    error = np.tile(np.eye(4), (len(steps), 1, 1))
    error[:, :3, :3] = Rotation.from_rotvec(
        times * TURN_DRIFT * (length + turn)[:, None] * rng.normal(size=(len(steps), 3))
    ).as_matrix()
    error[:, :3, 3] = times * LENGTH_DRIFT * length[:, None] * rng.normal(size=(len(steps), 3))
    return chained(steps @ error)


def carried(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry of a robot that is picked up and put down elsewhere, once."""
    steps = motions(drifting(rng, truth))
    steps[rng.integers(len(steps))] = np.eye(4)
    return chained(steps)


def carried_far(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry whose pose jumps once, by metres and a turn about the vertical."""
    steps = motions(drifting(rng, truth))
    jump = np.eye(4)
    jump[:3, :3] = Rotation.from_euler('y', rng.uniform(-np.pi, np.pi)).as_matrix()
    jump[[0, 2], 3] = rng.uniform(-3, 3, 2)
    steps[rng.integers(len(steps))] @= jump
    return chained(steps)


def frozen(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return odometry that never moves."""
    return np.tile(np.eye(4), (len(truth), 1, 1))


def freezing(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry that stops somewhere in the second half of the walk."""
    poses = drifting(rng, truth)
    last = int(rng.integers(len(poses) // 2, len(poses) - 1))
    poses[last:] = poses[last]
    return poses


def scaled(rng: np.random.Generator, truth: FloatArray, scale: float = 1.3) -> FloatArray:
    """Return good odometry whose metres are too short."""
    steps = motions(drifting(rng, truth))
    steps[:, :3, 3] *= scale
    return chained(steps)


def mirrored(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry that turns the wrong way."""
    steps = motions(drifting(rng, truth))
    steps[:, :3, :3] = np.swapaxes(steps[:, :3, :3], -1, -2)
    return chained(steps)


def stale(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return the odometry of the same walk the other way round."""
    return drifting(rng, truth)[::-1]


KINDS: dict[str, Odometry] = {
    'drift 1x': drifting,
    'drift 3x': lambda rng, truth: drifting(rng, truth, 3),
    'drift 10x': lambda rng, truth: drifting(rng, truth, 10),
    'carried': carried, 'jump': carried_far, 'frozen': frozen, 'freezes': freezing,
    'metres x 1.3': scaled, 'turns mirrored': mirrored, 'of another walk': stale,
}
