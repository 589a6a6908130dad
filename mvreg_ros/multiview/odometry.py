# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The way of the sensor by odometry: motions between fragments, sure at once, worse with time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.multiview.travel import travelled
from mvreg_ros.types import Edges, FloatArray, Fragment, PairRegistration, Registration, Verdict
import numpy as np


@dataclass(frozen=True)
class OdometryConfig:
    """
    How far good odometry is believed, in standard deviations; worse is found by `error_scale`.

    distance (m), angle (rad): without any motion. distance_per_metre, angle_per_metre: of the way
    of the sensor. angle_per_radian: of its turns. confidence: c_local of an edge of odometry.
    maximum_distance (m), maximum_angle (rad): odometry that is known less well links nothing: it
    does not tell where to look either, since from farther away surfaces meet that are not one.
    """

    distance: float = 0.03
    angle: float = 0.02
    distance_per_metre: float = 0.025
    angle_per_metre: float = 0.01
    angle_per_radian: float = 0.025
    confidence: float = 0.5
    maximum_distance: float = 0.25
    maximum_angle: float = 0.08


class Track:
    """
    The way of the sensor from fragment to fragment.

    ids: (M,) the fragments with odometry, in the order of runs, then of stamps, then of ids.
    place: (S,) where in that order a fragment comes, 0 for one without. run: (S,) of all
    fragments. Nothing is known of the motion between fragments of different runs.
    """

    def __init__(self, fragments: Sequence[Fragment], config: OdometryConfig) -> None:
        """Look at all fragments of a session, whether they have odometry or not."""
        self._config = config
        known = [k for k, f in enumerate(fragments) if f.T_odom_fragment is not None]
        self.run = np.array([f.odometry_run for f in fragments], np.int64)
        self.ids = np.array(sorted(
            known, key=lambda k: (self.run[k], fragments[k].stamp_ns, k)), np.int64)
        self.place = np.zeros(len(fragments), np.int64)
        self.place[self.ids] = np.arange(len(self.ids))
        self._T = np.full((len(fragments), 4, 4), np.nan)
        for k in known:
            self._T[k] = fragments[k].T_odom_fragment
        origins = np.array([f.sensor_origin for f in fragments], np.float64).reshape(-1, 3)
        # An error of the angle moves a fragment by its distance from the sensor.
        self._reach = np.linalg.norm(origins, axis=1)
        self._T_fragment_sensor = np.tile(np.eye(4), (len(fragments), 1, 1))
        self._T_fragment_sensor[:, :3, 3] = origins
        sensors = self._T @ self._T_fragment_sensor
        self._way = np.full((len(fragments), 2), np.nan)
        for run in np.unique(self.run[self.ids]):
            some = self.ids[self.run[self.ids] == run]
            self._way[some] = travelled(
                np.array([fragments[k].stamp_ns for k in some], np.int64),
                [fragments[k].frame_id for k in some], sensors[some])

    def between(self, i: Index, j: Index) -> tuple[FloatArray, FloatArray]:
        """
        Return T_i_j (E, 4, 4) and its deviations (E, 2), m and rad.

        They are NaN without odometry of the same run.
        """
        sigma = self._deviations(i, j)
        sigma[:, 0] = np.hypot(sigma[:, 0], sigma[:, 1] * self._reach[j])
        same = (self.run[i] == self.run[j])[:, None]
        T_i_j = np.where(same[..., None], np.linalg.inv(self._T[i]) @ self._T[j], np.nan)
        return T_i_j, np.where(same, sigma, np.nan)

    def off_at_sensors(self, i: Index, j: Index, T_i_j: FloatArray) -> FloatArray:
        """
        Return (E,) the squared deviations of motions (E, 4, 4) from those of odometry.

        They are those of the sensors. There metres that are too long or too short show; farther
        off the uncertain angle hides them.
        """
        back, there = np.linalg.inv(self._T_fragment_sensor[i]), self._T_fragment_sensor[j]
        T_odom, _ = self.between(i, j)
        return deviations(back @ T_i_j @ there, back @ T_odom @ there, self._deviations(i, j))

    def _deviations(self, i: Index, j: Index) -> FloatArray:
        """Return (E, 2) the deviations of the motions of the sensor, m and rad."""
        config = self._config
        length, turn = np.abs(self._way[i] - self._way[j]).T
        angle = config.angle + config.angle_per_metre * length + config.angle_per_radian * turn
        return np.stack([config.distance + config.distance_per_metre * length, angle], -1)

    def steps_within(self, part: Index) -> tuple[Index, Index]:
        """Return i, j of the motions from each fragment to the next of its run and part (S,)."""
        i, j = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for run in np.unique(self.run[self.ids]):
            members = self.ids[self.run[self.ids] == run]
            by_part = members[np.argsort(part[members], kind='stable')]
            same = part[by_part[:-1]] == part[by_part[1:]]
            i.append(by_part[:-1][same])
            j.append(by_part[1:][same])
        return np.concatenate(i), np.concatenate(j)

    def edges(self) -> Edges:
        """Return an edge from each fragment to the next of its run, pruned for the time being."""
        steps = np.sort(np.stack([self.ids[:-1], self.ids[1:]], -1))
        i, j = steps[self.run[steps[:, 0]] == self.run[steps[:, 1]]].T
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
    registration: Registration, fragments: Sequence[Fragment], run: int
) -> FloatArray | None:
    """
    Return T_map_odom with which the last fragment by stamp is where it was registered (REP-105).

    Only fragments in component 0 with odometry of this run count; None where there is none.
    """
    last = max(
        (id for id in registration.members(0)
         if fragments[id].T_odom_fragment is not None and fragments[id].odometry_run == run),
        key=lambda id: (fragments[id].stamp_ns, id), default=None)
    T_odom_fragment = None if last is None else fragments[last].T_odom_fragment
    if T_odom_fragment is None:
        return None
    return registration.poses[last] @ np.linalg.inv(T_odom_fragment)
