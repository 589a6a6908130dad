# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What two fragments have seen of a motion that odometry tells of.

That nothing contradicts a motion is no evidence for it: fragments that were put where they have
nothing in common contradict nothing. It is confirmed where surfaces of both are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mvreg_ros.pairwise.local_registration import local_registration
from mvreg_ros.pairwise.visibility import Visibility, visibility
from mvreg_ros.types import FloatArray, FragmentFeatures
import numpy as np
import torch

REACHES = (16.0, 8.0, 4.0)  # voxels, up to which surfaces are drawn to each other
# Share of all points that have to agree, and of the commonly seen ones that may contradict.
AGREEING, CONTRADICTING = 0.05, 0.02
# Where much agrees more may contradict: on a real walk 3 % did where half of all points agreed.
MUCH, LITTLE = 0.3, 0.05
# How well surfaces alone know the motion where they know it worst, m and rad. With odometry it
# would be known better, but a wall would then do where that is wrong.
PRECISE = 0.15, 0.08
# Share of the commonly seen points, and their number, beyond which a motion is wrong.
REFUTING, LEAST_REFUTING = 0.15, 30


@dataclass(frozen=True)
class Sighting:
    """
    A motion after a look at both fragments.

    T_i_j: (4, 4). known, surfaces: (6, 6) the information before, and that in the surfaces, as in
    `Edges`.
    """

    T_i_j: FloatArray
    known: FloatArray
    surfaces: FloatArray
    seen: Visibility

    @property
    def information(self) -> FloatArray:
        """Return what is known after the look, (6, 6)."""
        return self.known + self.surfaces

    @property
    def contradicted(self) -> bool:
        """Whether a sensor saw through much of what the other fragment has there."""
        return self.seen.contradiction > REFUTING and self.seen.contradict >= LEAST_REFUTING

    @property
    def confirmed(self) -> bool:
        """Whether enough of what both have seen is one, and by itself fixes the motion."""
        # Nothing is unknown by more than a metre and a radian.
        covariance = np.linalg.inv(self.surfaces + np.eye(6))
        sigma = np.sqrt([
            np.linalg.eigvalsh(half)[-1] for half in (covariance[:3, :3], covariance[3:, 3:])])
        agreeing = self.seen.agree / max(1, self.seen.points)
        allowed = LITTLE if agreeing >= MUCH else CONTRADICTING
        return (
            agreeing >= AGREEING and self.seen.contradiction <= allowed
            and bool((sigma <= PRECISE).all()))


# What fragments i and j have seen of T_i_j, which is known with so much information.
Look = Callable[[int, int, FloatArray, FloatArray], Sighting]


def looking_at(features: Sequence[FragmentFeatures], voxel_size: float) -> Look:
    """Return a look at described fragments; voxel_size: metres."""
    reaches = tuple(reach * voxel_size for reach in REACHES)

    def look(i: int, j: int, T_i_j: FloatArray, information: FloatArray) -> Sighting:
        T, surfaces = local_registration(
            T_i_j, information, features[i], features[j], voxel_size, reaches)
        seen = visibility(features[i], features[j], torch.from_numpy(T), reaches[-1])
        return Sighting(T, information, surfaces, seen)

    return look
