# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A walk of nine fragments that registration leaves in parts, and its odometry."""

from __future__ import annotations

from collections.abc import Sequence

from mvreg_ros.multiview.pose_graph import Synchronization, synchronize
from mvreg_ros.types import Edges, Fragment, PairRegistration
import numpy as np
from scipy.spatial.transform import Rotation

COUNT = 9
NOTHING = np.zeros((0, 3), np.float32)


def walk(count: int = COUNT) -> np.ndarray:
    """Return (count, 4, 4) poses along a curve, each half a metre and 15 degrees further."""
    step = np.eye(4)
    step[:3, :3] = Rotation.from_euler('z', 15, degrees=True).as_matrix()
    step[0, 3] = 0.5
    return np.stack([np.linalg.matrix_power(step, k) for k in range(count)])


TRUTH = walk()


def fragments(T_odom: Sequence[np.ndarray | None]) -> list[Fragment]:
    """Return fragments with these poses by odometry, in the order of stamps."""
    return [Fragment(NOTHING, k, stamp_ns=10 * k, T_odom_fragment=T) for k, T in enumerate(T_odom)]


def edge(i: int, j: int, inliers: float = 200.0, T: np.ndarray | None = None) -> PairRegistration:
    """Return an edge with so much evidence, the true one if none is given."""
    T_i_j = np.linalg.inv(TRUTH[i]) @ TRUTH[j] if T is None else T
    return PairRegistration(i, j, T_i_j, int(inliers), inliers, 0.9, 1e4 * np.eye(6))


def graph(*edges: PairRegistration, count: int = COUNT) -> Synchronization:
    """Return what registration alone makes of edges."""
    return synchronize(count, Edges.of(list(edges)), 0.85)


# 0-1-2-3 and 4-5-6 are linked, 7 and 8 are alone.
PARTS = graph(*[edge(i, j) for i, j in ((0, 1), (1, 2), (2, 3), (0, 2), (4, 5), (5, 6), (4, 6))])


def reasons(found: Synchronization) -> dict[tuple[int, int], str]:
    """Return the reasons of the edges of odometry."""
    rows = np.flatnonzero(found.edges.inliers == 0)
    return {(int(found.edges.i[row]), int(found.edges.j[row])): found.edges.reason[row]
            for row in rows}


def assert_true(found: Synchronization, atol: float = 1e-9) -> None:
    """Check that all fragments are in one component and where they are."""
    assert (found.component == 0).all()
    np.testing.assert_allclose(found.poses, TRUTH, atol=atol)


def carried(after: int) -> list[np.ndarray]:
    """Return odometry of a robot that was carried away after a fragment."""
    away = np.linalg.inv(TRUTH[after]) @ TRUTH[after + 1]
    return [*TRUTH[:after + 1], *(TRUTH[after] @ np.linalg.inv(away) @ np.linalg.inv(
        TRUTH[after]) @ TRUTH[after + 1:])]


def jumping(after: int) -> list[np.ndarray]:
    """Return odometry that jumps by two metres after a fragment."""
    away = np.eye(4)
    away[:2, 3] = 1.0, -1.7
    return [*TRUTH[:after + 1], *(away @ TRUTH[after + 1:])]
