# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a map: fragments whose poses are known to one another."""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.multiview.graph import Index
from mvreg_ros.types import Edges, FloatArray
import numpy as np


@dataclass(frozen=True)
class Parts:
    """part: (S,) of each fragment. poses: (S, 4, 4) in a frame of each part."""

    part: Index
    poses: FloatArray

    def joined(self, i: int, j: int, T_i_j: FloatArray) -> Parts:
        """Return the parts with that of j in the frame of that of i, and one with it."""
        there = self.part == self.part[j]
        poses = self.poses.copy()
        poses[there] = poses[i] @ T_i_j @ np.linalg.inv(poses[j]) @ poses[there]
        return Parts(np.where(there, self.part[i], self.part), poses)

    def relative(self, edges: Edges) -> FloatArray:
        """Return (E, 4, 4) T_i_j that follow from the poses."""
        return np.linalg.inv(self.poses[edges.i]) @ self.poses[edges.j]
