# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A session of little overlap in a simulated flat, with odometry that is good, bad and worse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

from mvreg_ros import MultiviewRegistration
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.simulate.fusion import fuse
from mvreg_ros.simulate.session import drifting
from mvreg_ros.simulate.world import build_world
from mvreg_ros.types import Fragment, Registration
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

COUNT, EVERY = 12, 2  # fragments of a walk, and which are left, so that they hardly overlap
IMAGES = 4
LENGTH_DRIFT, TURN_DRIFT = 0.02, 0.02  # of a metre, and rad of a radian or a metre


@dataclass(frozen=True)
class Walk:
    """Fragments with the truth, and what registration without odometry makes of them."""

    pipeline: MultiviewRegistration
    fragments: list[Fragment]
    truth: np.ndarray
    without: Registration

    def register(self, T_odom: np.ndarray) -> Registration:
        """Return the registration with odometry."""
        return self.pipeline.register([
            replace(fragment, T_odom_fragment=T)
            for fragment, T in zip(self.fragments, T_odom, strict=True)])

    def right(self, result: Registration) -> tuple[int, int]:
        """Return how many pairs are right, within 15 degrees and half a metre, and wrong."""
        right = wrong = 0
        for i, j in combinations(range(len(self.truth)), 2):
            T_i_j = result.relative(i, j)
            if T_i_j is not None:
                error = np.linalg.inv(T_i_j) @ np.linalg.inv(self.truth[i]) @ self.truth[j]
                close = np.linalg.norm(error[:3, 3]) < 0.5
                if close and rotation_angle(error[:3, :3]) < np.radians(15):
                    right += 1
                else:
                    wrong += 1
        return right, wrong


@pytest.fixture(scope='module')
def walked() -> Walk:
    """Return six fragments, of a few images each, of a walk through a room."""
    world = build_world(seed=6, rooms=1, fragments=COUNT)
    fragments = []
    for k in range(0, COUNT, EVERY):
        rng = np.random.default_rng(world.chance[k])
        poses = world.T_world_camera[k, :IMAGES]
        odometry = drifting(rng, np.linalg.inv(poses[0]) @ poses)
        points = fuse(world.images(k, rng, IMAGES), odometry, world.sensor.camera)
        fragments.append(Fragment(points, stamp_ns=k + 1))
    pipeline = MultiviewRegistration.from_pretrained(
        voxel_size=0.06, features='fpfh', device='cpu')
    without = pipeline.register(fragments)
    return Walk(pipeline, fragments, world.T_world_camera[::EVERY, 0], without)


def odometry(walked: Walk, worse: float = 1.0, carried: int | None = None) -> np.ndarray:
    """Return poses with drift so many times as bad, of a robot that was carried at a fragment."""
    rng = np.random.default_rng(1)
    T_odom = [np.eye(4)]
    for k in range(1, len(walked.truth)):
        step = np.linalg.inv(walked.truth[k - 1]) @ walked.truth[k]
        length, turn = np.linalg.norm(step[:3, 3]), rotation_angle(step[:3, :3])
        error = np.eye(4)
        error[:3, :3] = Rotation.from_rotvec(
            rng.normal(0, worse * TURN_DRIFT * (turn + length), 3)).as_matrix()
        error[:3, 3] = rng.normal(0, worse * LENGTH_DRIFT * length, 3)
        T_odom.append(T_odom[-1] @ (np.eye(4) if k == carried else step) @ error)
    return np.stack(T_odom)


def test_odometry_joins_what_registration_leaves_in_parts(walked: Walk) -> None:
    assert walked.right(walked.without) == (2, 0)
    assert not walked.without.placed.all()
    found = walked.register(odometry(walked))
    assert found.placed.all()
    assert walked.right(found) == (15, 0)
    assert set(found.edges.reason[found.edges.inliers == 0]) == {'odometry'}
    assert np.isfinite(found.covariances).all()


def test_a_drift_ten_times_as_bad_changes_nothing(walked: Walk) -> None:
    found = walked.register(odometry(walked, worse=10))
    np.testing.assert_array_equal(found.placed, walked.without.placed)
    np.testing.assert_array_equal(found.component, walked.without.component)
    assert walked.right(found) == walked.right(walked.without)


@pytest.mark.parametrize('carried', [2, 3, 4])
def test_a_robot_that_was_carried_away_does_no_harm(walked: Walk, carried: int) -> None:
    right, wrong = walked.right(walked.register(odometry(walked, carried=carried)))
    assert wrong == 0
    assert right >= walked.right(walked.without)[0]
