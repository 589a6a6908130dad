# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at fragments that have no points: what they tell of a motion is known beforehand."""

from __future__ import annotations

from mvreg_ros.multiview.odometry_evidence import Sighting
from mvreg_ros.pairwise.visibility import Visibility
from mvreg_ros.types import FloatArray
import numpy as np

SURFACES = 1e4 * np.eye(6)


def clear(i: int, j: int, T_i_j: FloatArray, information: FloatArray) -> Sighting:
    """See whatever is asked for, on many surfaces and without any contradiction."""
    return Sighting(T_i_j, information, SURFACES, Visibility(1000, 0, 1000))


def nothing(i: int, j: int, T_i_j: FloatArray, information: FloatArray) -> Sighting:
    """See nothing that both fragments have."""
    return Sighting(T_i_j, information, 0 * SURFACES, Visibility(0, 0, 1000))
