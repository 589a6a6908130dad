# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All that a session is simulated from: a furnished flat, a way through it, and a camera."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.simulate.camera import Camera, Depth, DepthSensor, scene_of, true_depth
from mvreg_ros.simulate.flat import build_flat
from mvreg_ros.simulate.floor_plan import FloorPlan, plan_flat
from mvreg_ros.simulate.trajectory import walk
from mvreg_ros.types import FloatArray, InputError
import numpy as np
import open3d as o3d

FRAMES = 12


@dataclass(frozen=True)
class SimulatedWorld:
    """
    A flat, and the camera that is carried through it.

    T_world_camera: (fragments, FRAMES, 4, 4). chance: the seed of all noise in each fragment.
    """

    plan: FloorPlan
    scene: o3d.t.geometry.RaycastingScene
    sensor: DepthSensor
    T_world_camera: FloatArray
    chance: tuple[np.random.SeedSequence, ...]

    def images(self, fragment: int, rng: np.random.Generator, count: int = FRAMES) -> list[Depth]:
        """Return the first images of a fragment as measured, (height, width) each."""
        poses = self.T_world_camera[fragment, :count]
        return [self.sensor.measure(rng, *self.truth(pose)) for pose in poses]

    def truth(self, T_world_camera: FloatArray) -> tuple[Depth, Depth]:
        """Return depth and cosine of the angle of incidence as `true_depth` does."""
        return true_depth(self.scene, self.sensor.camera, T_world_camera)


def build_world(seed: int, rooms: int, fragments: int) -> SimulatedWorld:
    """
    Return a flat of `rooms` rooms and a walk through it that is long enough for the fragments.

    The same arguments give the same world, bit for bit. Raises InputError for less than one room
    or fragment, or a negative seed.
    """
    if seed < 0:
        raise InputError(f'a seed is 0 or more: {seed} asked')
    if rooms < 1 or fragments < 1:
        raise InputError(f'a session needs a room and a fragment: {rooms} and {fragments} asked')
    seeds = np.random.SeedSequence(seed).spawn(4 + fragments)
    for_plan, for_walk, for_flat, for_sensor = (np.random.default_rng(one) for one in seeds[:4])
    plan = plan_flat(for_plan, rooms)
    T_world_camera = walk(for_walk, plan, fragments, FRAMES)
    flat = build_flat(for_flat, plan, T_world_camera[..., :2, 3].reshape(-1, 2))
    sensor = DepthSensor.random(for_sensor, Camera())
    return SimulatedWorld(plan, scene_of(flat), sensor, T_world_camera, tuple(seeds[4:]))
