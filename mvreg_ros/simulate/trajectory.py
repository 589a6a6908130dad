# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A walk with a hand-held camera: round in each room, through the doors, and back to the start.

In a room the camera looks across it while its bearer goes round on the room's ellipse; then he
turns to the next door and walks through. Camera axes: x right, y down, z forward.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mvreg_ros.simulate.floor_plan import FloorPlan, Room
from mvreg_ros.types import FloatArray

# A fragment is about as long as a step of this size, so that neighbours overlap by a half.
STEP_TURN = np.deg2rad(40)
STEP_LENGTH = 0.7
PASSAGE_STEPS = 2.5
DOOR_STANDOFF = 0.5


def walk(
    rng: np.random.Generator, plan: FloorPlan, fragments: int, frames: int
) -> FloatArray:
    """Return camera poses T_world_camera, (fragments, frames, 4, 4), evenly along the walk."""
    x, y, yaw = _smooth(_route(rng, plan, fragments)).T
    steps = np.concatenate([[0], np.cumsum(_steps(np.stack([x, y, yaw], 1)))])
    times = np.linspace(0, steps[-1], fragments * frames)
    x, y, yaw = (np.interp(times, steps, values) for values in (x, y, yaw))
    x, y = x + _sway(rng, times, 0.02), y + _sway(rng, times, 0.02)
    z = rng.uniform(1.25, 1.5) + _sway(rng, times, 0.06)
    yaw = yaw + _sway(rng, times, np.deg2rad(5))
    pitch = np.deg2rad(-14) + _sway(rng, times, np.deg2rad(8))
    roll = _sway(rng, times, np.deg2rad(3))
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, :3, :3] = camera_rotation(yaw, pitch, roll)
    poses[:, :3, 3] = np.stack([x, y, z], 1)
    return poses.reshape(fragments, frames, 4, 4)


def camera_rotation(yaw: FloatArray, pitch: FloatArray, roll: FloatArray) -> FloatArray:
    """Return R_world_camera, (M, 3, 3), of cameras that look along `yaw`, up by `pitch`."""
    level = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    turn = Rotation.from_euler('ZYX', np.stack([yaw, -pitch, roll], 1)).as_matrix()
    return turn @ level


def _route(rng: np.random.Generator, plan: FloorPlan, fragments: int) -> FloatArray:
    """Return way points (x, y, yaw), (M, 3), of a tour that takes about `fragments` steps."""
    passages = [(door.centre, door.heading) for door in plan.doors]
    if len(plan.rooms) == 2:
        passages.append((plan.doors[0].centre, plan.doors[0].heading + np.pi))
    if not passages:
        start = rng.uniform(0, 2 * np.pi)
        return _sweep(plan.rooms[0], start, start + fragments * STEP_TURN)
    turning = fragments * STEP_TURN - len(passages) * PASSAGE_STEPS * STEP_TURN
    stops = [*plan.rooms, plan.rooms[0]]
    entering, leaving = [], []
    for (centre, heading), room, following in zip(passages, stops, stops[1:], strict=False):
        ahead = DOOR_STANDOFF * np.array([np.cos(heading), np.sin(heading)])
        leaving.append(_heading(room.walk_centre, centre - ahead))
        entering.append(_heading(centre + ahead, following.walk_centre))
    wanted = np.clip(turning / (len(plan.rooms) + 0.4), np.pi / 2, 3 * np.pi)
    turns = [
        _turn(rng, start, end, wanted) for start, end in zip(entering, leaving[1:], strict=False)
    ]
    rest = turning - np.abs(turns).sum()
    side = rng.choice([-1, 1])
    first = side * np.clip(0.7 * rest, np.pi / 2, 3 * np.pi)
    last = side * np.clip(0.3 * rest, np.pi / 3, np.pi)
    parts = [_sweep(stops[0], leaving[0] - first, leaving[0])]
    for k, (centre, heading) in enumerate(passages):
        ahead = DOOR_STANDOFF * np.array([np.cos(heading), np.sin(heading)])
        parts.append(np.array([[*(centre - ahead), heading], [*(centre + ahead), heading]]))
        turn = turns[k] if k < len(turns) else last
        parts.append(_sweep(stops[k + 1], entering[k], entering[k] + turn))
    return np.concatenate(parts)


def _heading(start: FloatArray, end: FloatArray) -> float:
    return float(np.arctan2(end[1] - start[1], end[0] - start[0]))


def _turn(rng: np.random.Generator, start: float, end: float, wanted: float) -> float:
    """Return a turn from heading `start` to `end` whose size is nearest to `wanted`."""
    options = (end - start) % (2 * np.pi) + 2 * np.pi * np.arange(-3, 3)
    misfit = np.abs(np.abs(options) - wanted) + rng.uniform(0, 0.2, len(options))
    return float(options[np.argmin(misfit)])


def _sweep(room: Room, start: float, end: float) -> FloatArray:
    """Return way points round in a room, the camera looking from the ellipse across the centre."""
    yaw = np.linspace(start, end, max(2, int(np.abs(end - start) / 0.05)))
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], 1)
    return np.column_stack([room.walk_centre - room.walk_radii * ahead, yaw])


def _steps(path: FloatArray) -> FloatArray:
    """Return how many steps it takes from each way point to the next, (M - 1,)."""
    move = np.diff(path, axis=0)
    return np.hypot(np.hypot(move[:, 0], move[:, 1]) / STEP_LENGTH, move[:, 2] / STEP_TURN)


def _smooth(path: FloatArray) -> FloatArray:
    """Return the path, headings made continuous, sampled finely and evenly, corners rounded."""
    path = np.column_stack([path[:, :2], np.unwrap(path[:, 2])])
    steps = np.concatenate([[0], np.cumsum(_steps(path))])
    spacing = 0.02
    even = np.arange(0, steps[-1], spacing)
    fine = np.stack([np.interp(even, steps, column) for column in path.T], 1)
    return gaussian_filter1d(fine, 0.25 / spacing, axis=0, mode='nearest')


def _sway(rng: np.random.Generator, times: FloatArray, size: float) -> FloatArray:
    """Return a smooth random motion of standard deviation `size`, periods of 1 to 8 steps."""
    periods, phases = rng.uniform(1, 8, 6), rng.uniform(0, 2 * np.pi, 6)
    return size * np.sin(times[:, None] * 2 * np.pi / periods + phases).sum(1) / np.sqrt(3)
