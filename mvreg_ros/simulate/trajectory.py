# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A walk with a hand-held camera: round in each room, through the doors, and back to the start.

In a room the camera looks across the centre while it is carried round on the room's ellipse; then
it turns to the next door and goes straight through. Camera axes: x right, y down, z forward.
"""

from __future__ import annotations

from mvreg_ros.simulate.floor_plan import FloorPlan, Room
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

# Moving or turning so far changes the view by about a half: the way from a fragment to the next.
STEP_TURN = np.deg2rad(50)
STEP_LENGTH = 1.5
LEAST_TURN = np.pi / 6
DOOR_STANDOFF = 0.5


def walk(
    rng: np.random.Generator, plan: FloorPlan, fragments: int, frames: int
) -> FloatArray:
    """
    Return camera poses T_world_camera, (fragments, frames, 4, 4), evenly along the walk.

    The more fragments there are, the further the camera turns, room by room. Where there are too
    few for the whole tour, it ends early.
    """
    sides = rng.choice([-1, 1], len(plan.rooms) + 1)
    turns = np.full(len(sides), LEAST_TURN)
    longer = route = _smooth(plan, _route(plan, turns, sides))
    while _steps(plan, longer)[-1] <= fragments:
        route = longer
        turns[np.argmin(turns)] += LEAST_TURN
        longer = _smooth(plan, _route(plan, turns, sides))
    steps = _steps(plan, route)
    times = np.linspace(0, min(steps[-1], fragments), fragments * frames)
    x, y, yaw = (np.interp(times, steps, column) for column in route.T)
    x, y = x + _sway(rng, times, 0.02), y + _sway(rng, times, 0.02)
    z = rng.uniform(1.25, 1.5) + _sway(rng, times, 0.06)
    yaw = yaw + _sway(rng, times, np.deg2rad(5))
    pitch = np.deg2rad(-17) + _sway(rng, times, np.deg2rad(8))
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


def _route(plan: FloorPlan, turns: FloatArray, sides: NDArray[np.int64]) -> FloatArray:
    """
    Return way points (x, y, yaw), (M, 3), of the tour that turns by about `turns` in the rooms.

    turns, sides: (rooms + 1,) size and sign of the turn at each stop, the last one is at home.
    """
    passages = [(door.centre, door.heading) for door in plan.doors]
    if len(passages) == 1:
        passages.append((plan.doors[0].centre, plan.doors[0].heading + np.pi))
    path = []
    arrival = None
    for k, (centre, heading) in enumerate(passages):
        room, following = plan.rooms[k], plan.rooms[(k + 1) % len(plan.rooms)]
        ahead = DOOR_STANDOFF * np.array([np.cos(heading), np.sin(heading)])
        leave = _heading(room.walk_centre, centre - ahead)
        start = leave - sides[k] * turns[k] if arrival is None else arrival
        path.append(_sweep(room, start, start + _nearest_turn(leave - start, turns[k], sides[k])))
        path.append(np.array([[*(centre - ahead), heading], [*(centre + ahead), heading]]))
        arrival = _heading(centre + ahead, following.walk_centre)
    start = arrival or 0.0
    path.append(_sweep(plan.rooms[0], start, start + sides[-1] * turns[-1]))
    return np.concatenate(path)


def _heading(start: FloatArray, end: FloatArray) -> float:
    return float(np.arctan2(end[1] - start[1], end[0] - start[0]))


def _nearest_turn(difference: float, wanted: float, side: int) -> float:
    """Return `difference` plus whole turns, nearest in size to `wanted`, rather to `side`."""
    options = difference % (2 * np.pi) + 2 * np.pi * np.arange(-3, 3)
    misfit = np.abs(np.abs(options) - wanted) + 0.1 * (np.sign(options) != side)
    return float(options[np.argmin(misfit)])


def _sweep(room: Room, start: float, end: float) -> FloatArray:
    """Return way points round in a room, the camera looking from the ellipse across the centre."""
    yaw = np.linspace(start, end, max(2, int(np.abs(end - start) / 0.05)))
    ahead = np.stack([np.cos(yaw), np.sin(yaw)], 1)
    return np.column_stack([room.walk_centre - room.walk_radii * ahead, yaw])


def _steps(plan: FloorPlan, path: FloatArray) -> FloatArray:
    """Return how many steps it takes to each way point, (M,); the view changes fast at doors."""
    move = np.diff(path, axis=0)
    step = np.hypot(np.hypot(move[:, 0], move[:, 1]) / STEP_LENGTH, move[:, 2] / STEP_TURN)
    for door in plan.doors:
        distance = np.linalg.norm(path[1:, :2] - door.centre, axis=1)
        step *= 1 + np.exp(-(distance**2))
    return np.concatenate([[0], np.cumsum(step)])


def _smooth(plan: FloorPlan, path: FloatArray) -> FloatArray:
    """Return the path, headings made continuous, sampled finely and evenly, corners rounded."""
    path = np.column_stack([path[:, :2], np.unwrap(path[:, 2])])
    steps = _steps(plan, path)
    spacing = 0.02
    even = np.arange(0, steps[-1], spacing)
    fine = np.stack([np.interp(even, steps, column) for column in path.T], 1)
    return gaussian_filter1d(fine, 0.25 / spacing, axis=0, mode='nearest')


def _sway(rng: np.random.Generator, times: FloatArray, size: float) -> FloatArray:
    """Return a smooth random motion of standard deviation `size`, periods of 1 to 8 steps."""
    periods, phases = rng.uniform(1, 8, 6), rng.uniform(0, 2 * np.pi, 6)
    return size * np.sin(times[:, None] * 2 * np.pi / periods + phases).sum(1) / np.sqrt(3)
