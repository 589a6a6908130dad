# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The public call: a mapping session in a simulated flat, with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.simulate.camera import Camera, DepthSensor, scene_of, true_depth
from mvreg_ros.simulate.flat import build_flat
from mvreg_ros.simulate.floor_plan import plan_flat
from mvreg_ros.simulate.fusion import fuse
from mvreg_ros.simulate.trajectory import walk
from mvreg_ros.types import FloatArray, Fragment, InputError, no_progress, Progress
import numpy as np
from scipy.spatial.transform import Rotation

FRAMES = 12
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
    if seed < 0:
        raise InputError(f'a seed is 0 or more: {seed} asked')
    if rooms < 1 or fragments < 1:
        raise InputError(f'a session needs a room and a fragment: {rooms} and {fragments} asked')
    streams = np.random.default_rng(seed).spawn(4 + fragments)
    plan = plan_flat(streams[0], rooms)
    T_world_camera = walk(streams[1], plan, fragments, FRAMES)
    trajectory = T_world_camera[..., :3, 3].reshape(-1, 3)
    scene = scene_of(build_flat(streams[2], plan, trajectory[:, :2]))
    sensor = DepthSensor.random(streams[3], Camera())
    built = []
    for k, (poses, rng) in enumerate(zip(T_world_camera, streams[4:], strict=True)):
        images = [sensor.measure(rng, *true_depth(scene, sensor.camera, pose)) for pose in poses]
        odometry = drifting(rng, np.linalg.inv(poses[0]) @ poses)
        points = fuse(images, odometry, sensor.camera)
        stamp = int((k + 1) * FRAGMENT_SECONDS * 1e9)
        built.append(Fragment(points, k, stamp, 'camera', f'fragment_{k:04d}'))
        progress('simulation', k + 1, fragments)
    return SimulatedSession(tuple(built), T_world_camera[:, 0], trajectory)


def drifting(rng: np.random.Generator, poses: FloatArray) -> FloatArray:
    """Return poses, (M, 4, 4), as odometry would give them: a random walk away from the first."""
    count = len(poses)
    turn = np.cumsum(rng.normal(0, DRIFT_TURN, (count, 3)), axis=0)
    error = np.tile(np.eye(4), (count, 1, 1))
    error[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix()
    error[:, :3, 3] = np.cumsum(rng.normal(0, DRIFT_LENGTH, (count, 3)), axis=0)
    error[0] = np.eye(4)
    return poses @ error
