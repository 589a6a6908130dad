# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How far odometry is believed, by what registration is sure of.

Everywhere part: (S,) are the fragments that registration, or a link since, has put together, and
poses: (S, 4, 4) theirs, in a frame of each part.
"""

from __future__ import annotations

from mvreg_ros.multiview.graph import adjacency, Index
from mvreg_ros.multiview.odometry import deviations, Track
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import Edges, FloatArray
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import maximum_flow

MEDIAN = 5.35  # of squared deviations in six directions
# Inliers that have to hold two fragments together for registration to be sure of them against
# odometry. Robots are carried away less often than rooms look alike.
SURE = 200.0
# Of a way by odometry that closes, m and rad: a little more than poses may be off in between.
CLOSED = 0.7, 0.2


def error_scale(track: Track, part: Index, poses: FloatArray) -> FloatArray:
    """
    Return (S,) how many times as large as expected the errors of odometry are, by runs.

    Motions from each fragment to the next one of its part are compared. NaN where a run has none
    of these, or a fragment no odometry.
    """
    scale = np.full(len(part), np.nan)
    i, j = track.steps_within(part)
    off = track.off_at_sensors(i, j, np.linalg.inv(poses[i]) @ poses[j])
    for run in np.unique(track.run[i]):
        some = off[track.run[i] == run]
        members = track.ids[track.run[track.ids] == run]
        # What is expected counts like one motion: few of them may agree by chance.
        scale[members] = np.sqrt((1 + len(some) * np.median(some) / MEDIAN) / (1 + len(some)))
    return scale


def disputed(
    track: Track, part: Index, poses: FloatArray, scale: FloatArray, edges: Edges, gate: float
) -> NDArray[np.bool_]:
    """
    Return (S,) True for the fragments of parts that odometry may be right to contradict.

    scale: (S,) of the errors of odometry, infinite where it is not believed. edges: of
    registration. gate: squared deviations beyond which a motion is another. What enough inliers
    hold together, over all ways through the edges in use, is not in doubt.
    """
    i, j = track.steps_within(part)
    T_i_j, sigma = track.between(i, j)
    off = deviations(
        np.linalg.inv(poses[i]) @ poses[j], T_i_j, sigma * np.fmax(1, scale[i])[:, None])
    used = edges.select(edges.used)
    held = adjacency(len(part), used.i, used.j, np.round(used.evidence).astype(np.int32))
    held = (held + held.T).tocsr()
    doubted = [
        part[a] for a, b in zip(i[off >= gate], j[off >= gate], strict=True)
        if maximum_flow(held, int(a), int(b)).flow_value < SURE]
    return np.isin(part, doubted)


def closed(track: Track, part: Index, poses: FloatArray) -> NDArray[np.bool_]:
    """
    Return (M,) whether the step to each of `track.ids` from the one before is on a closed way.

    That is a way from one fragment to another of its part over which odometry says what
    registration says. Had anything gone wrong in between, it would not.
    """
    i, j = track.steps_within(part)
    T_i_j, _ = track.between(i, j)
    off = np.linalg.inv(T_i_j) @ np.linalg.inv(poses[i]) @ poses[j]
    close = np.linalg.norm(off[:, :3, 3], axis=1) < CLOSED[0]
    close &= rotation_angle(off[:, :3, :3]) < CLOSED[1]
    found = np.zeros(len(track.ids), bool)
    for a, b in zip(track.place[i[close]], track.place[j[close]], strict=True):
        found[a + 1:b + 1] = True
    return found
