# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good odometry really is, by what registration is sure of."""

from __future__ import annotations

from mvreg_ros.multiview.graph import Index
from mvreg_ros.multiview.odometry import deviations, Track
from mvreg_ros.types import FloatArray
import numpy as np

MEDIAN = 5.35  # of squared deviations in six directions


def error_scale(track: Track, part: Index, poses: FloatArray) -> FloatArray:
    """
    Return (S,) how many times as large as expected the errors of odometry are, by runs.

    part: (S,) which fragments registration has linked, and poses: (S, 4, 4), in a frame of each
    part. Motions from each fragment to the next one of its part are compared. NaN where a run has
    none of these, or a fragment no odometry.
    """
    scale = np.full(len(part), np.nan)
    for run in np.unique(track.run[track.ids]):
        members = track.ids[track.run[track.ids] == run]
        by_part = members[np.argsort(part[members], kind='stable')]
        i, j = by_part[:-1], by_part[1:]
        i, j = i[part[i] == part[j]], j[part[i] == part[j]]
        if len(i):
            off = deviations(np.linalg.inv(poses[i]) @ poses[j], *track.between(i, j))
            # What is expected counts like one motion: few of them may agree by chance.
            scale[members] = np.sqrt((1 + len(i) * np.median(off) / MEDIAN) / (1 + len(i)))
    return scale
