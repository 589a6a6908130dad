# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry that is made up for the benchmark: each kind is what it says."""

from __future__ import annotations

from benchmarks import made_up_odometry as odometry
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import FloatArray
import numpy as np
import pytest
from random_motion import random_pose

COUNT = 8


def truth() -> FloatArray:
    """Return (COUNT, 4, 4) poses of a walk, the first the identity."""
    steps = np.stack([random_pose(np.random.default_rng(k)).numpy() for k in range(COUNT - 1)])
    return odometry.chained(steps)


TRUTH = truth()


def told(kind: str, seed: int = 0) -> FloatArray:
    """Return the motions of a kind of odometry."""
    return odometry.motions(odometry.KINDS[kind](np.random.default_rng(seed), TRUTH))


def test_drift_grows_with_what_it_is_said_to_be_multiplied_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = odometry.motions(TRUTH)
    way = np.linalg.norm(steps[:, :3, 3], axis=1)
    off = [np.mean([
        np.linalg.norm((np.linalg.inv(steps) @ told(kind, seed))[:, :3, 3], axis=1) / way
        for seed in range(50)]) for kind in ('drift 1x', 'drift 3x', 'drift 10x')]
    # The mean length of a vector of three normal deviates is 1.6 of theirs.
    np.testing.assert_allclose(off, 1.6 * odometry.LENGTH_DRIFT * np.array([1, 3, 10]), rtol=0.1)
    monkeypatch.setattr(odometry, 'LENGTH_DRIFT', 0.0)
    monkeypatch.setattr(odometry, 'TURN_DRIFT', 0.0)
    np.testing.assert_allclose(told('drift 1x'), steps, atol=1e-12)


def test_wrong_odometry_is_wrong_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(odometry, 'LENGTH_DRIFT', 0.0)
    monkeypatch.setattr(odometry, 'TURN_DRIFT', 0.0)
    steps = odometry.motions(TRUTH)
    other = {kind: ~np.isclose(told(kind), steps).all((1, 2)) for kind in odometry.KINDS}
    assert other['carried'].sum() == other['jump'].sum() == 1
    np.testing.assert_allclose(told('carried')[other['carried']], [np.eye(4)], atol=1e-12)
    np.testing.assert_allclose(told('frozen'), np.tile(np.eye(4), (COUNT - 1, 1, 1)))
    stops = np.flatnonzero(other['freezes'])
    assert stops[0] >= COUNT // 2 - 1
    np.testing.assert_array_equal(stops, np.arange(stops[0], COUNT - 1))
    longer = steps.copy()
    longer[:, :3, 3] *= 1.3
    np.testing.assert_allclose(told('metres x 1.3'), longer, atol=1e-12)
    np.testing.assert_allclose(
        rotation_angle(told('turns mirrored')[:, :3, :3] @ steps[:, :3, :3]), 0, atol=1e-6)
    np.testing.assert_allclose(told('of another walk'), np.linalg.inv(steps)[::-1], atol=1e-12)
