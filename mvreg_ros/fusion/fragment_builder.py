# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a depth camera with odometry, fused into fragments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mvreg_ros.data.acceptance import FARTHEST
from mvreg_ros.features.voxels import voxel_means
from mvreg_ros.fusion.motion import motion
from mvreg_ros.types import FloatArray, Fragment, InputError
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

NOTHING = np.zeros((0, 3), np.float32)


@dataclass(frozen=True)
class FusionConfig:
    """
    Which frames are fused, and how many of them.

    voxel_size: metres, of the fragments. minimum_travel_distance (m), minimum_travel_heading
    (rad): a frame that has moved and turned less since the last one is skipped (keyframe gate).
    maximum_frames, maximum_travel_distance, maximum_travel_heading: a fragment ends with so many
    frames, or before the camera is farther from where the fragment began. maximum_range: metres
    from the camera beyond which points are dropped.
    """

    voxel_size: float
    minimum_travel_distance: float
    minimum_travel_heading: float
    maximum_frames: int
    maximum_travel_distance: float
    maximum_travel_heading: float
    maximum_range: float

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> FusionConfig:
        """
        Return what rows of the parameter table say: voxel_size and frames.*.

        Raises InputError if a fragment may reach so far that it would be refused.
        """
        config = cls(parameters['voxel_size'], **{
            each.name: parameters[f'frames.{each.name}']
            for each in fields(cls) if each.name != 'voxel_size'})
        reach = config.maximum_range + config.maximum_travel_distance
        limit = FARTHEST * config.voxel_size
        if reach > limit:
            raise InputError(
                f'frames.maximum_range and frames.maximum_travel_distance are {reach:g} m '
                f'together, the limit is {limit:g} m at a voxel_size of {config.voxel_size:g} m: '
                'lower them or raise voxel_size')
        return config


class FragmentBuilder:
    """
    Fuses the frames of one camera, in the order of time, into one fragment after the other.

    A fragment has the frame, the stamp and the odometry of its first camera: the sensor stands at
    its origin. Each voxel holds the mean of what the frames saw in it. What a single frame saw
    stays: without it less overlaps, and on real sequences fewer fragments are placed.
    """

    def __init__(self, config: FusionConfig) -> None:
        """Begin without frames."""
        self._config = config
        self._clouds: list[Tensor] = []
        self._first = Fragment(NOTHING)
        self._T_odom_first = np.eye(4)
        self._last: tuple[int, FloatArray] | None = None

    def wants(self, stamp_ns: int, T_odom_camera: FloatArray) -> bool:
        """Return whether the camera has moved enough since the last frame that was fused."""
        if self._last is None or stamp_ns < self._last[0]:
            return True
        distance, angle = motion(self._last[1], T_odom_camera)
        config = self._config
        return bool(
            distance >= config.minimum_travel_distance or angle >= config.minimum_travel_heading)

    def add(
        self, points: NDArray[np.float32], stamp_ns: int, frame_id: str, T_odom_camera: FloatArray,
        odometry_run: int = 0,
    ) -> Fragment | None:
        """
        Fuse a frame; return the fragment that is finished by it, if one is.

        points: (N, 3) finite, metres, in the frame of the camera. A frame that is older than the
        last one, or of another run of odometry, begins a new fragment.
        """
        beyond = self._is_beyond(stamp_ns, T_odom_camera, odometry_run)
        finished = self.close() if beyond else None
        if not self._clouds:
            self._first = Fragment(
                NOTHING, stamp_ns=stamp_ns, frame_id=frame_id, T_odom_fragment=T_odom_camera,
                odometry_run=odometry_run)
            self._T_odom_first = T_odom_camera
        self._last = (stamp_ns, T_odom_camera)
        self._clouds.append(self._in_fragment(points, T_odom_camera))
        if finished is None and len(self._clouds) >= self._config.maximum_frames:
            finished = self.close()
        return finished

    def close(self) -> Fragment | None:
        """Return what has been fused and begin anew; None if no point has."""
        fragment = self.fused()
        self.clear()
        return fragment

    def clear(self) -> None:
        """Begin a new fragment with the next frame."""
        self._clouds = []

    def fused(self) -> Fragment | None:
        """Return what has been fused so far, which may be little; None if no point has."""
        points = torch.cat(self._clouds) if self._clouds else torch.zeros(0, 3)
        if len(points) == 0:
            return None
        means = voxel_means(points, points, self._config.voxel_size)
        return replace(self._first, points=means.float().numpy())

    def _is_beyond(self, stamp_ns: int, T_odom_camera: FloatArray, odometry_run: int) -> bool:
        """Return whether a frame is too far from the beginning of the fragment to be fused."""
        if not self._clouds or self._last is None:
            return False
        distance, angle = motion(self._T_odom_first, T_odom_camera)
        config = self._config
        return bool(
            stamp_ns < self._last[0] or odometry_run != self._first.odometry_run
            or distance > config.maximum_travel_distance or angle > config.maximum_travel_heading)

    def _in_fragment(self, points: NDArray[np.float32], T_odom_camera: FloatArray) -> Tensor:
        """Return the points of a frame, thinned, in the frame of the fragment."""
        near = torch.from_numpy(points).double()
        near = near[near.norm(dim=1) <= self._config.maximum_range]
        T = torch.from_numpy(np.linalg.inv(self._T_odom_first) @ T_odom_camera)
        moved = near @ T[:3, :3].T + T[:3, 3]
        return voxel_means(moved, moved, self._config.voxel_size)
