# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames with poses become fragments: where they begin and end, and what they hold."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.fusion.fragment_builder import FragmentBuilder, FusionConfig
from mvreg_ros.parameters import checked
from mvreg_ros.types import Fragment, InputError
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

CONFIG = FusionConfig(
    voxel_size=0.05, minimum_travel_distance=0.1, minimum_travel_heading=0.1, maximum_frames=10,
    maximum_travel_distance=1.0, maximum_travel_heading=1.0, maximum_range=4.0)


def at(x: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """Return the pose (4, 4) of a camera x metres ahead, turned about z."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('z', turn).as_matrix()
    T[0, 3] = x
    return T


WORLD = np.random.default_rng(0).uniform(-1, 1, (2000, 3))


def seen_from(T_world_camera: np.ndarray) -> np.ndarray:
    """Return the points of the world in the frame of the camera."""
    T = np.linalg.inv(T_world_camera)
    return (WORLD @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def build(poses: list[np.ndarray], config: FusionConfig = CONFIG) -> list[Fragment]:
    """Return the fragments of a camera at these poses, one every millisecond."""
    builder = FragmentBuilder(config)
    done = [
        builder.add(seen_from(T), k, 'camera', T)
        for k, T in enumerate(poses) if builder.wants(k, T)
    ]
    return [fragment for fragment in [*done, builder.close()] if fragment is not None]


def test_frames_come_together_in_the_frame_of_the_first_camera() -> None:
    poses = [at(3.0, 0.5), at(3.2, 0.6), at(3.4, 0.3)]
    fragment, = build(poses)
    assert (fragment.stamp_ns, fragment.frame_id) == (0, 'camera')
    np.testing.assert_array_equal(fragment.T_odom_fragment, poses[0])
    np.testing.assert_array_equal(fragment.sensor_origin, np.zeros(3))
    assert fragment.points.dtype == np.float32
    # What all three saw is there once: a mean in each voxel, none far from a point of the world.
    assert len(fragment.points) < len(WORLD) + 20
    distance, _ = cKDTree(seen_from(poses[0])).query(fragment.points)
    assert distance.max() < CONFIG.voxel_size


def test_means_take_away_noise() -> None:
    rng = np.random.default_rng(0)
    wall = np.stack([*np.meshgrid(np.arange(-0.5, 0.5, 0.01), np.arange(-0.5, 0.5, 0.01)),
                     np.full((100, 100), 2.025)], -1).reshape(-1, 3)

    def error(frames: int) -> float:
        builder = FragmentBuilder(replace(CONFIG, maximum_frames=99))
        for k in range(frames):
            builder.add((wall + rng.normal(0, 0.005, wall.shape)).astype(np.float32), k, '', at())
        fragment = builder.close()
        assert fragment is not None
        return float(np.median(np.abs(fragment.points[:, 2] - 2.025)))

    assert error(25) < 0.5 * error(1)


def test_a_camera_that_stands_still_adds_nothing() -> None:
    poses = [at(0.0), *[at(0.09, 0.09)] * 50, at(0.11), at(0.11, 0.11)]
    builder = FragmentBuilder(CONFIG)
    taken = []
    for k, T in enumerate(poses):
        if builder.wants(k, T):
            taken.append(k)
            builder.add(seen_from(T), k, 'camera', T)
    assert taken == [0, 51, 52]


@pytest.mark.parametrize(('poses', 'stamps'), [
    ([at(0.11 * k) for k in range(10)], [0]),
    ([at(0.11 * k) for k in range(14)], [0, 10]),
    ([at(0.3 * k) for k in range(9)], [0, 4, 8]),
    ([at(turn=0.3 * k) for k in range(9)], [0, 4, 8]),
])
def test_a_fragment_ends_with_its_frames_its_way_or_its_turn(
    poses: list[np.ndarray], stamps: list[int],
) -> None:
    assert [fragment.stamp_ns for fragment in build(poses)] == stamps


def test_the_gate_holds_across_the_end_of_a_fragment() -> None:
    builder = FragmentBuilder(replace(CONFIG, maximum_frames=1))
    assert builder.add(seen_from(at()), 0, 'camera', at()) is not None
    assert not builder.wants(1, at(0.05))
    assert builder.wants(2, at(0.15))


def test_a_frame_from_the_past_begins_a_new_fragment() -> None:
    builder = FragmentBuilder(CONFIG)
    for stamp, x in ((100, 0.0), (101, 0.2)):
        assert builder.add(seen_from(at(x)), stamp, 'camera', at(x)) is None
    assert builder.wants(5, at(0.2))
    first = builder.add(seen_from(at(0.2)), 5, 'camera', at(0.2))
    second = builder.close()
    assert first is not None
    assert second is not None
    assert (first.stamp_ns, second.stamp_ns) == (100, 5)


def test_frames_of_another_run_of_odometry_begin_a_new_fragment() -> None:
    builder = FragmentBuilder(CONFIG)
    for stamp, x, run in ((0, 0.0, 3), (1, 0.2, 3)):
        assert builder.add(seen_from(at(x)), stamp, 'camera', at(x), run) is None
    first = builder.add(seen_from(at(0.4)), 2, 'camera', at(0.4), 5)
    second = builder.close()
    assert first is not None and second is not None
    assert (first.stamp_ns, first.odometry_run) == (0, 3)
    assert (second.stamp_ns, second.odometry_run) == (2, 5)


def test_what_is_too_far_from_its_camera_is_dropped() -> None:
    builder = FragmentBuilder(CONFIG)
    near, far = [0.0, 0.0, 3.9], [0.0, 0.0, 4.1]
    builder.add(np.array([near, far], np.float32), 0, 'camera', at())
    fragment = builder.close()
    assert fragment is not None
    np.testing.assert_allclose(fragment.points, [near], atol=1e-6)


def test_a_range_of_too_many_voxels_is_refused_at_once() -> None:
    with pytest.raises(InputError, match='lower them or raise voxel_size'):
        FusionConfig.of(checked({'voxel_size': 0.001, 'frames.maximum_range': 1000.0}))


def test_nothing_fused_is_no_fragment() -> None:
    builder = FragmentBuilder(CONFIG)
    assert builder.close() is None
    builder.add(np.full((5, 3), 9.0, np.float32), 0, 'camera', at())
    assert builder.close() is None
