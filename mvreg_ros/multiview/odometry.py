# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the odometry of the robot says of fragments."""

from __future__ import annotations

from collections.abc import Sequence

from mvreg_ros.types import FloatArray, Fragment, Registration
import numpy as np


def map_from_odom(
    registration: Registration, fragments: Sequence[Fragment]
) -> FloatArray | None:
    """
    Return T_map_odom with which the last fragment by stamp is where it was registered (REP-105).

    Only fragments in component 0 with odometry count; None where there is none.
    """
    known = [id for id in registration.members(0) if fragments[id].T_odom_fragment is not None]
    if not known:
        return None
    last = max(known, key=lambda id: fragments[id].stamp_ns)
    return registration.poses[last] @ np.linalg.inv(fragments[last].T_odom_fragment)
