# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The public call: a mapping session in a simulated flat, with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.simulate.fusion import fuse
from mvreg_ros.simulate.world import build_world, SimulatedWorld
from mvreg_ros.types import FloatArray, Fragment, no_progress, Progress
import numpy as np
from scipy.spatial.transform import Rotation

FRAGMENT_SECONDS = 2.0
# Error of the odometry within a fragment, per frame: 2 mm and 0.05 degrees.
DRIFT_LENGTH, DRIFT_TURN = 0.002, np.deg2rad(0.05)


@dataclass(frozen=True)
class SimulatedSession:
    """
    Fragments as a robot would publish them, and the truth.

    fragments: each in the frame of its own first camera (x right, y down, z forward), stamps
    increasing. T_world_fragment: (S, 4, 4). trajectory: (F, 3) camera centres in the world, m.
    """

    fragments: tuple[Fragment, ...]
    T_world_fragment: FloatArray
    trajectory: FloatArray


def simulate_session(
    seed: int, rooms: int = 4, fragments: int = 30, progress: Progress = no_progress
) -> SimulatedSession:
    """
    Return a walk through a furnished flat of `rooms` rooms, cut into `fragments` fragments.

    The same arguments give the same session, bit for bit. Calls progress('simulation', done,
    fragments). Raises InputError for less than one room or fragment, or a negative seed.
    """
    return record_session(build_world(seed, rooms, fragments), progress)


def record_session(world: SimulatedWorld, progress: Progress = no_progress) -> SimulatedSession:
    """Return what the camera sees on its walk through `world`; progress: see simulate_session."""
    count = len(world.T_world_camera)
    built = []
    for k, (poses, seed) in enumerate(zip(world.T_world_camera, world.chance, strict=True)):
        rng = np.random.default_rng(seed)
        images = world.images(k, rng)
        odometry = drifting(rng, np.linalg.inv(poses[0]) @ poses)
        points = fuse(images, odometry, world.sensor.camera)
        stamp = int((k + 1) * FRAGMENT_SECONDS * 1e9)
        built.append(Fragment(points, k, stamp, 'camera', f'fragment_{k:04d}'))
        progress('simulation', k + 1, count)
    trajectory = world.T_world_camera[..., :3, 3].reshape(-1, 3)
    return SimulatedSession(tuple(built), world.T_world_camera[:, 0], trajectory)


def drifting(rng: np.random.Generator, poses: FloatArray) -> FloatArray:
    """Return poses, (M, 4, 4), as odometry would give them: a random walk away from the first."""
    count = len(poses)
    turn = np.cumsum(rng.normal(0, DRIFT_TURN, (count, 3)), axis=0)
    error = np.tile(np.eye(4), (count, 1, 1))
    error[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix()
    error[:, :3, 3] = np.cumsum(rng.normal(0, DRIFT_LENGTH, (count, 3)), axis=0)
    error[0] = np.eye(4)
    return poses @ error
