# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How far a relative pose contradicts what the sensors saw.

A sensor that saw a surface saw the empty space in front of it. Where a pose puts points of one
fragment into space that the other saw through, one of the two is wrong. Rooms are boxes, and the
corner of one fits that of another; what stands in them does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.features.neighbors import radius_neighbors
from mvreg_ros.types import FragmentFeatures
import torch
from torch import Tensor

MAX_POINTS = 2500  # of each fragment that are held against what the other saw
# Tolerances between two lines of sight, where they end, beyond which they saw different places.
MAX_APART = 4.0


@dataclass(frozen=True)
class Visibility:
    """How many of the `points` that were compared agree with a pose, and how many contradict."""

    agree: int
    contradict: int
    points: int

    @property
    def contradiction(self) -> float:
        """Share of the commonly seen points that contradict, in [0, 1]."""
        return self.contradict / max(1, self.agree + self.contradict)


def visibility(
    target: FragmentFeatures, source: FragmentFeatures, T_target_source: Tensor,
    tolerance: float, max_angle: float = 0.03,
) -> Visibility:
    """
    Return what the keypoints of either fragment say that the other's sensor should have seen.

    tolerance: metres; points that differ by less agree, points more than twice as far in front of
    everything that the other sensor saw in their direction contradict. max_angle: rad between the
    lines of sight that are compared. What was seen from so far that this is more than `MAX_APART`
    tolerances says nothing: from there all of a fragment lies in one direction.
    """
    T = T_target_source.to(target.points)
    there = source.points @ T[:3, :3].T + T[:3, 3]
    back = (target.points - T[:3, 3]) @ T[:3, :3]
    counts = torch.zeros(2, dtype=torch.int64)
    total = 0
    for points, seen in ((there, target), (back, source)):
        points = points[:: 1 + len(points) // MAX_POINTS]
        counts += agreement(points, seen, tolerance, max_angle).cpu()
        total += len(points)
    agree, contradict = counts.tolist()
    return Visibility(agree, contradict, total)


def agreement(
    points: Tensor, seen: FragmentFeatures, tolerance: float, max_angle: float
) -> Tensor:
    """
    Return (2,) int64: how many points agree with what a sensor saw, and how many contradict it.

    points: (N, 3) in the frame of `seen`.
    """
    sight, depth = lines_of_sight(points - seen.sensor_origin)
    sight_seen, depth_seen = lines_of_sight(seen.points - seen.sensor_origin)
    told = depth_seen * max_angle < MAX_APART * tolerance
    sight_seen, depth_seen = sight_seen[told], depth_seen[told]
    near = radius_neighbors(sight, sight_seen, max_angle)
    behind = depth_seen[near.index] - depth[near.query]
    infinite = depth.new_full((len(points),), torch.inf)
    closest = infinite.scatter_reduce(0, near.query, behind, 'amin')
    nearest = infinite.scatter_reduce(0, near.query, behind.abs(), 'amin')
    looked = near.counts > 0
    agree = looked & (nearest < tolerance)
    contradict = looked & (closest > 2 * tolerance)
    return torch.stack([agree.sum(), contradict.sum()])


def lines_of_sight(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unit directions (N, 3) and the distances (N,) of points from the sensor."""
    depth = points.norm(dim=1)
    return points / depth.clamp(min=1e-9)[:, None], depth
