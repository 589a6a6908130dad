# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A made-up registration with components, a bridge and a fragment alone; and how two compare."""

from __future__ import annotations

from dataclasses import fields

from mvreg_ros.types import Edges, Fragment, Registration, Verdict
import numpy as np
from scipy.spatial.transform import Rotation

NOT_PLACED = 'no edge <b>was</b> kept'


def random_pose(rng: np.random.Generator) -> np.ndarray:
    """Return a random rigid transform (4, 4)."""
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
    T[:3, 3] = rng.uniform(-3, 3, 3)
    return T


def made_up_registration() -> tuple[list[Fragment], Registration]:
    """Return six fragments: 0, 1 and 3 in component 0, 2 and 5 in component 1, 4 not placed."""
    rng = np.random.default_rng(0)
    stamps = [7_000_000_001, 3_500_000_000, 0, 1_700_000_000_123_456_789, 5, 6]
    fragments = [
        Fragment(rng.uniform(-1, 1, (400, 3)).astype(np.float32), id=k, stamp_ns=stamps[k],
                 frame_id='</script><script>alert(1)</script>' if k == 4 else f'camera_{k}')
        for k in range(6)
    ]
    poses = np.stack([random_pose(rng) for _ in range(6)])
    i, j = np.array([0, 1, 2, 0]), np.array([1, 3, 5, 4])
    T_i_j = np.linalg.inv(poses[i]) @ poses[j]
    factor = rng.normal(size=(4, 6, 6))
    edges = Edges(
        i=i, j=j, T_i_j=T_i_j, confidence=np.array([0.99, 0.6, 0.91, 0.2]),
        inliers=np.array([300, 40, 200, 3]), evidence=np.array([300.0, 40, 200, 3]),
        information=factor @ factor.transpose(0, 2, 1) + 10 * np.eye(6),
        verdict=np.array([Verdict.KEPT, Verdict.BRIDGE, Verdict.KEPT, Verdict.PRUNED], object),
        reason=np.array(['', 'low_confidence', '', 'inconsistent'], object))
    placed = np.array([True, True, True, True, False, True])
    poses[4] = np.nan
    registration = Registration(
        poses=poses, placed=placed, component=np.array([0, 0, 1, 0, -1, 1]),
        covariances=np.tile(np.eye(6) * 1e-4, (6, 1, 1)), edges=edges,
        reason=np.array(['', '', '', '', NOT_PLACED, ''], object),
        seconds={'features': 1.5, 'pairs': 4.0, 'synchronization': 0.25, 'refinement': 2.0})
    return fragments, registration


def assert_same_registration(found: Registration, expected: Registration) -> None:
    """Check that all but the seconds is the same, bit for bit."""
    for name in ('poses', 'covariances', 'component', 'placed', 'reason'):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for field in fields(found.edges):
        np.testing.assert_array_equal(
            getattr(found.edges, field.name), getattr(expected.edges, field.name))
