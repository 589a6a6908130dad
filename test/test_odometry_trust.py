# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Odometry is believed as far as registration confirms it, and never does harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

from mvreg_ros.multiview.odometry import OdometryConfig, Track
from mvreg_ros.multiview.odometry_links import with_odometry
from mvreg_ros.multiview.odometry_trust import error_scale, MEDIAN
from mvreg_ros.multiview.pose_graph import Synchronization, synchronize
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.types import Edges, Fragment, PairRegistration, Verdict
import numpy as np
from odometry_looks import clear, SURFACES
import pytest
from random_graphs import noise
from scipy.spatial.transform import Rotation

COUNT = 24
NOTHING = np.zeros((0, 3), np.float32)
SEEDS = range(16)


def walk() -> np.ndarray:
    """Return (COUNT, 4, 4) poses, 0.4 m and up to 25 degrees from one to the next."""
    rng = np.random.default_rng(0)
    poses = [np.eye(4)]
    for _ in range(COUNT - 1):
        step = np.eye(4)
        step[:3, :3] = Rotation.from_euler('z', rng.uniform(-25, 25), degrees=True).as_matrix()
        step[0, 3] = 0.4
        poses.append(poses[-1] @ step)
    return np.stack(poses)


TRUTH = walk()
# What registration has linked: parts of three and four by turns, and here and there one alone.
PARTS = ((0, 1, 2), (3,), (4, 5, 6, 7), (8, 9, 10), (11,), (12, 13, 14, 15), (16, 17, 18), (19,),
         (20, 21, 22, 23))


def registered() -> Synchronization:
    """Return what registration makes of good edges within the parts."""
    pairs = [pair for part in PARTS for pair in combinations(part, 2)]
    errors = noise(np.random.default_rng(0), len(pairs), 0.005, 0.005)
    return synchronize(COUNT, Edges.of([
        PairRegistration(
            i, j, np.linalg.inv(TRUTH[i]) @ TRUTH[j] @ error, 200, 200.0, 0.9, 1e4 * np.eye(6))
        for (i, j), error in zip(pairs, errors, strict=True)]), 0.85)


GRAPH = registered()


def fragments(T_odom: np.ndarray, runs: list[int] | None = None) -> list[Fragment]:
    """Return fragments with these poses by odometry."""
    return [Fragment(NOTHING, k, stamp_ns=10**9 * k, T_odom_fragment=T, odometry_run=run)
            for k, (T, run) in enumerate(zip(T_odom, runs or [0] * len(T_odom), strict=True))]


def drifting(seed: int, times: float) -> np.ndarray:
    """Return odometry whose errors are so many times those of one of 2 %."""
    rng = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for step in np.linalg.inv(TRUTH[:-1]) @ TRUTH[1:]:
        way, turn = np.linalg.norm(step[:3, 3]), rotation_angle(step[:3, :3])
        error = np.eye(4)
        error[:3, :3] = Rotation.from_rotvec(
            rng.normal(0, times * 0.02 * (way + turn), 3)).as_matrix()
        error[:3, 3] = rng.normal(0, times * 0.02 * way, 3)
        poses.append(poses[-1] @ step @ error)
    return np.stack(poses)


def teleported(seed: int) -> np.ndarray:
    """Return odometry with little drift that jumps in the middle, within a part."""
    jump = np.eye(4)
    jump[:3, :3] = Rotation.from_euler('z', 2.0).as_matrix()
    jump[:2, 3] = 3.0, -2.0
    poses = drifting(seed, 1)
    return np.concatenate([poses[:13], poses[12] @ jump @ np.linalg.inv(poses[12]) @ poses[13:]])


# A mount that is wrong by a quarter turn: the camera looks ahead, and is said to look up.
MOUNT = np.eye(4)
MOUNT[:3, :3] = Rotation.from_euler('y', 90, degrees=True).as_matrix()
ODOMETRY: dict[str, Callable[[int], np.ndarray]] = {
    'drift 1x': lambda seed: drifting(seed, 1), 'drift 3x': lambda seed: drifting(seed, 3),
    'drift 10x': lambda seed: drifting(seed, 10),
    'wrong axis': lambda seed: drifting(seed, 1) @ MOUNT,
    'stuck': lambda seed: np.tile(np.eye(4), (COUNT, 1, 1)), 'teleport': teleported,
}


def shares(found: Synchronization) -> tuple[float, float]:
    """Return the shares of all pairs that are right, within 15 degrees and 0.5 m, and wrong."""
    i, j = np.array(list(combinations(range(COUNT), 2))).T
    linked = (found.component[i] == found.component[j]) & (found.component[i] >= 0)
    error = np.linalg.inv(np.linalg.inv(found.poses[i]) @ found.poses[j]) @ np.linalg.inv(
        TRUTH[i]) @ TRUTH[j]
    right = (np.linalg.norm(error[:, :3, 3], axis=1) < 0.5) & (
        rotation_angle(error[:, :3, :3]) < np.radians(15))
    return float((linked & right).mean()), float((linked & ~right).mean())


@pytest.mark.parametrize(('kind', 'right', 'wrong'), [
    ('drift 1x', 0.9, 0.0), ('drift 3x', 0.7, 0.15), ('drift 10x', 0.0, 0.0),
    ('wrong axis', 0.0, 0.0), ('stuck', 0.0, 0.0), ('teleport', 0.9, 0.01),
])
def test_with_odometry_no_fewer_pairs_are_right_and_hardly_more_are_wrong(
    kind: str, right: float, wrong: float,
) -> None:
    """Whatever odometry says is seen here, so that nothing but the figures speaks against it."""
    before = shares(GRAPH)
    assert before == (pytest.approx(27 / 276), 0.0)
    after = np.array([
        shares(with_odometry(GRAPH, fragments(ODOMETRY[kind](seed)), clear)) for seed in SEEDS])
    assert (after[:, 0] >= before[0]).all()
    assert after[:, 0].mean() - before[0] >= right
    assert after[:, 1].mean() <= wrong


def test_the_scale_of_errors_is_what_they_are() -> None:
    """Each motion within the parts is off by so many deviations."""
    track = Track(fragments(TRUTH), OdometryConfig())
    part = np.repeat(np.arange(6), 4)
    i = np.array([k for k in range(COUNT) if k % 4 != 3])
    j = i + 1
    _, sigma = track.between(i, j)
    for times in (0.0, 1.0, 3.0):
        poses = TRUTH.copy()
        for a, b, s in zip(i, j, sigma, strict=True):
            error = np.eye(4)
            error[0, 3] = times * np.sqrt(MEDIAN) * s[0]
            poses[b] = poses[a] @ np.linalg.inv(TRUTH[a]) @ TRUTH[b] @ error
        np.testing.assert_allclose(
            error_scale(track, part, poses), np.sqrt((1 + 18 * times**2) / 19), atol=1e-6)


def test_each_run_of_odometry_is_believed_for_itself() -> None:
    """The first is good, the second drifts, and the third is confirmed nowhere."""
    T_odom = np.concatenate([TRUTH[:8], drifting(0, 10)[8:19], TRUTH[19:]])
    runs = [0] * 8 + [1] * 11 + [2] + [3] * 4
    found = with_odometry(GRAPH, fragments(T_odom, runs), clear)
    odometry = found.edges.inliers == 0
    reasons = {run: {str(reason) for reason, i in zip(
        found.edges.reason[odometry], found.edges.i[odometry], strict=True) if runs[i] == run}
        for run in range(4)}
    assert reasons == {0: {'odometry'}, 1: {'odometry_drifts'}, 2: set(), 3: {'odometry'}}
    assert len(set(found.component[:8])) == 1
    np.testing.assert_array_equal(found.component[[11, 19]], -1)
    assert np.isfinite(found.edges.information).all()


def test_what_registration_confirms_nowhere_links_nothing() -> None:
    """Odometry that is right, and nothing to see that by."""
    alone = synchronize(COUNT, Edges.of([]), 0.85)
    found = with_odometry(alone, fragments(TRUTH), clear)
    np.testing.assert_array_equal(found.component, -1)
    assert set(found.edges.reason) == {'odometry_unconfirmed'}
    assert not found.edges.used.any() and not found.edges.confidence.any()


def test_what_odometry_is_found_to_know_is_in_its_edges() -> None:
    found = with_odometry(GRAPH, fragments(TRUTH), clear)
    assert (found.component == 0).all()
    odometry = found.edges.select(found.edges.inliers == 0)
    seen = odometry.verdict == Verdict.BRIDGE
    assert seen.sum() == len(PARTS) - 1
    odometry.information[seen] -= SURFACES
    expected = Track(fragments(TRUTH), OdometryConfig()).edges().information
    ratio = odometry.information.diagonal(axis1=1, axis2=2) / expected.diagonal(axis1=1, axis2=2)
    # Fifteen motions that are almost right, and what is expected, which counts as one.
    np.testing.assert_allclose(ratio, ratio[0, 0])
    assert 12 < ratio[0, 0] < 16


def test_metres_that_are_too_long_show_however_far_the_fragments_are_from_the_sensor() -> None:
    """Their own deviations are large, since an angle moves what is far."""
    far = np.array([0.0, 0.0, -4.0])
    centred = np.eye(4)
    centred[:3, 3] = -far
    longer = np.linalg.inv(TRUTH[:-1]) @ TRUTH[1:]
    longer[:, :3, 3] *= 1.5
    T_odom = [np.eye(4)]
    for step in longer:
        T_odom.append(T_odom[-1] @ step)
    part = np.zeros(COUNT, np.int64)
    scales = []
    for origin, T in ((np.zeros(3), np.eye(4)), (far, centred)):
        some = [replace(fragment, sensor_origin=origin.astype(np.float32))
                for fragment in fragments(np.stack(T_odom) @ T)]
        scales.append(error_scale(Track(some, OdometryConfig()), part, TRUTH @ T)[0])
    assert scales[0] > 1.5
    assert scales[1] == pytest.approx(scales[0], rel=1e-5)
