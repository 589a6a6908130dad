# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The way of the sensor by odometry: motions between fragments, sure at once, worse with time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import Edges, FloatArray, Fragment, PairRegistration, Registration, Verdict
import numpy as np


@dataclass(frozen=True)
class OdometryConfig:
    """
    How far odometry is believed, in standard deviations.

    distance (m), angle (rad): without any motion. distance_per_metre, angle_per_metre: of the way
    of the sensor. angle_per_radian: of its turns. confidence: c_local of an edge of odometry.
    maximum_distance (m): odometry that is known less well links nothing by itself.
    """

    distance: float = 0.03
    angle: float = 0.02
    distance_per_metre: float = 0.05
    angle_per_metre: float = 0.02
    angle_per_radian: float = 0.05
    confidence: float = 0.5
    maximum_distance: float = 3.0


class Track:
    """
    The way of the sensor from fragment to fragment.

    ids: (M,) the fragments with odometry, in the order of stamps, then of ids. They are taken for
    those of one camera: with several the way from one to the other counts as motion, so that
    odometry is believed less than it could be.
    """

    def __init__(self, fragments: Sequence[Fragment], config: OdometryConfig) -> None:
        """Look at all fragments of a session, whether they have odometry or not."""
        self._config = config
        known = [k for k, f in enumerate(fragments) if f.T_odom_fragment is not None]
        self.ids = np.array(sorted(known, key=lambda k: (fragments[k].stamp_ns, k)), np.int64)
        self._T = np.full((len(fragments), 4, 4), np.nan)
        for k in known:
            self._T[k] = fragments[k].T_odom_fragment
        origins = np.array([f.sensor_origin for f in fragments], np.float64).reshape(-1, 3)
        # An error of the angle moves a fragment by its distance from the sensor.
        self._reach = np.linalg.norm(origins, axis=1)
        R = self._T[:, :3, :3]
        sensors = (R @ origins[..., None])[..., 0] + self._T[:, :3, 3]
        a, b = self.ids[:-1], self.ids[1:]
        self._length = self._along(np.linalg.norm(sensors[b] - sensors[a], axis=1))
        self._turn = self._along(rotation_angle(R[a].transpose(0, 2, 1) @ R[b]))

    def _along(self, steps: FloatArray) -> FloatArray:
        """Return (S,) the sum of the steps (M - 1,) up to each fragment, NaN without odometry."""
        total = np.full(len(self._T), np.nan)
        total[self.ids] = np.concatenate([[0.0], np.cumsum(steps)])[:len(self.ids)]
        return total

    def between(self, i: Index, j: Index) -> tuple[FloatArray, FloatArray]:
        """Return T_i_j (E, 4, 4) and its deviations (E, 2), m and rad; NaN without odometry."""
        config = self._config
        length = np.abs(self._length[i] - self._length[j])
        turn = np.abs(self._turn[i] - self._turn[j])
        angle = config.angle + config.angle_per_metre * length + config.angle_per_radian * turn
        distance = config.distance + config.distance_per_metre * length
        distance = np.hypot(distance, angle * self._reach[j])
        return np.linalg.inv(self._T[i]) @ self._T[j], np.stack([distance, angle], -1)

    def edges(self) -> Edges:
        """Return an edge from each fragment to the next, pruned for the time being."""
        i, j = np.minimum(self.ids[:-1], self.ids[1:]), np.maximum(self.ids[:-1], self.ids[1:])
        T_i_j, sigma = self.between(i, j)
        edges = Edges.of([
            PairRegistration(
                int(a), int(b), T, 0, 0.0, self._config.confidence,
                np.diag(np.repeat(1 / np.square(s), 3)))
            for a, b, T, s in zip(i, j, T_i_j, sigma, strict=True)
        ])
        edges.verdict[:], edges.reason[:] = Verdict.PRUNED, 'odometry'
        return edges


def deviations(T_i_j: FloatArray, other: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return (E,) squared deviations between motions (E, 4, 4), or NaN; sigma: (E, 2), m, rad."""
    difference = np.linalg.inv(T_i_j) @ other
    distance = np.linalg.norm(difference[:, :3, 3], axis=1)
    angle = rotation_angle(difference[:, :3, :3])
    return np.square(distance / sigma[:, 0]) + np.square(angle / sigma[:, 1])


def map_from_odom(
    registration: Registration, fragments: Sequence[Fragment]
) -> FloatArray | None:
    """
    Return T_map_odom with which the last fragment by stamp is where it was registered (REP-105).

    Only fragments in component 0 with odometry count; None where there is none.
    """
    last = max(
        (id for id in registration.members(0) if fragments[id].T_odom_fragment is not None),
        key=lambda id: (fragments[id].stamp_ns, id), default=None)
    T_odom_fragment = None if last is None else fragments[last].T_odom_fragment
    if T_odom_fragment is None:
        return None
    return registration.poses[last] @ np.linalg.inv(T_odom_fragment)
