# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The public call: what it promises in the README and how it refuses."""

from __future__ import annotations

from collections.abc import Iterator

from mvreg_ros import MultiviewRegistration
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.parallel import ordered_map
from mvreg_ros.types import Fragment, InputError, Registration, RegistrationCancelled
import numpy as np
import pytest
from small_scene import fragments, VOXEL_SIZE
import torch


@pytest.fixture
def threads() -> Iterator[None]:
    """Give torch's thread count back after the test."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


def registration_of(**parameters: object) -> MultiviewRegistration:
    """
    Return a pipeline for the field, whose hills are too small at this voxel size for phi.

    Few inliers make poses that are right, but not within a voxel: the paper's tau_p leaves them
    out.
    """
    return MultiviewRegistration.from_pretrained(
        **{'features': 'fpfh', 'voxel_size': VOXEL_SIZE, 'min_confidence': 0.85, **parameters})


@pytest.fixture(scope='module')
def registration() -> Registration:
    """Register the five clouds of the field."""
    clouds, _ = fragments()
    return registration_of().register(clouds)


def displacements(poses: np.ndarray) -> np.ndarray:
    """Return (5,) the root mean square distance of the clouds' points from where they belong."""
    clouds, truth = fragments()
    expected = np.linalg.inv(truth[0]) @ truth
    return np.array([
        np.sqrt((((cloud @ (P - E)[:3, :3].T) + (P - E)[:3, 3]) ** 2).sum(1).mean())
        for cloud, P, E in zip(clouds, poses, expected, strict=True)
    ])


def test_the_clouds_come_together(registration: Registration) -> None:
    """All placed, their points within a voxel of the truth, the first at the origin."""
    assert registration.placed.all()
    assert registration.component.tolist() == [0] * 5
    np.testing.assert_allclose(registration.poses[0], np.eye(4), atol=1e-9)
    assert displacements(registration.poses).max() < VOXEL_SIZE
    assert set(registration.seconds) == {'features', 'pairs', 'synchronization', 'refinement'}
    np.testing.assert_allclose(registration.relative(3, 1), np.linalg.inv(
        registration.poses[3]) @ registration.poses[1])


def test_the_same_input_gives_the_same_bits(registration: Registration, threads: None) -> None:
    """Again, and with another number of threads."""
    clouds, _ = fragments()
    for count in (1, 3):
        torch.set_num_threads(count)
        again = registration_of().register(clouds)
        np.testing.assert_array_equal(again.poses, registration.poses)
        np.testing.assert_array_equal(again.covariances, registration.covariances)
        np.testing.assert_array_equal(again.edges.T_i_j, registration.edges.T_i_j)


@pytest.mark.parametrize('offset', [3.0, 200.0, 6000.0])
def test_the_origin_of_a_frame_does_not_matter(offset: float) -> None:
    """Clouds far from their origins, sensors with them: the same map, as exact as float32 is."""
    clouds, _ = fragments()
    away = np.array([offset, -offset / 2, offset / 3])
    moved = [
        Fragment((cloud + away).astype(np.float32), sensor_origin=away.astype(np.float32))
        for cloud in clouds
    ]
    result = registration_of().register(moved)
    assert result.placed.all()
    np.testing.assert_allclose(result.poses[0], np.eye(4), atol=1e-9)
    here, there = np.eye(4), np.eye(4)
    here[:3, 3], there[:3, 3] = away, -away
    # The grids of voxels lie differently, so other points are matched: as near as keypoints are.
    assert displacements(there @ result.poses @ here).max() < 2 * VOXEL_SIZE
    used = result.edges.select(result.edges.used)
    implied = np.linalg.inv(result.poses[used.i]) @ result.poses[used.j]
    assert np.degrees(rotation_angle((np.linalg.inv(implied) @ used.T_i_j)[:, :3, :3])).max() < 2


def test_everything_scales_with_the_voxel_size(registration: Registration) -> None:
    """The same clouds eight times as large, with voxels eight times as large."""
    clouds, _ = fragments()
    large = registration_of(voxel_size=8 * VOXEL_SIZE).register(
        [8 * cloud for cloud in clouds]
    )
    assert large.edges.verdict.tolist() == registration.edges.verdict.tolist()
    np.testing.assert_allclose(
        large.poses[:, :3, 3], 8 * registration.poses[:, :3, 3], atol=0.01 * VOXEL_SIZE)


def test_covariances_cover_the_errors(registration: Registration) -> None:
    """No error beyond five standard deviations, and the deviations are not absurd."""
    _, truth = fragments()
    error = np.linalg.inv(np.linalg.inv(truth[0]) @ truth) @ registration.poses
    deviation = np.sqrt(np.diagonal(registration.covariances, axis1=1, axis2=2))[1:, :3]
    assert (np.abs(error[1:, :3, 3]) < 5 * deviation).all()
    assert 1e-3 < deviation.min() < deviation.max() < 10 * VOXEL_SIZE


def test_a_cloud_of_another_place_is_not_placed() -> None:
    """It gets NaN, component -1 and a reason; the rest is as without it."""
    clouds, _ = fragments()
    stranger = np.random.default_rng(0).uniform(-1, 1, (4000, 3))
    result = registration_of().register(
        [*clouds[:3], stranger]
    )
    assert result.placed.tolist() == [True, True, True, False]
    assert result.component.tolist() == [0, 0, 0, -1]
    assert result.reason.tolist() == ['', '', '', 'no_link']
    assert np.isnan(result.poses[3]).all()
    assert np.isnan(result.covariances[3]).all()
    assert result.relative(0, 3) is None


def test_the_gauge_is_the_prior_of_the_first_fragment() -> None:
    """A prior moves its component, and nothing else about it changes."""
    clouds, truth = fragments()
    scene = [Fragment(cloud) for cloud in clouds[:2]]
    pipeline = registration_of()
    without = pipeline.register(scene)
    prior = Fragment(clouds[0], T_map_fragment=truth[0])
    with_prior = pipeline.register([prior, scene[1]])
    np.testing.assert_allclose(with_prior.poses, truth[0] @ without.poses, atol=1e-9)


def test_the_map_begins_as_the_odometry_frame_does() -> None:
    """Odometry of the first fragment stands in for a prior; what it says of others is checked."""
    clouds, truth = fragments()
    pipeline = registration_of()
    without = pipeline.register(clouds[:2])
    found = pipeline.register([
        Fragment(cloud, T_odom_fragment=T) for cloud, T in zip(clouds[:2], truth, strict=False)])
    np.testing.assert_allclose(found.poses[0], truth[0], atol=1e-9)
    # Registration is the surer of the two.
    np.testing.assert_allclose(found.poses, truth[0] @ without.poses, atol=0.01)
    assert found.edges.reason.tolist() == ['consistent', 'odometry']


def test_without_refinement_there_are_poses_and_no_covariances() -> None:
    """`refine` off leaves the synchronised poses."""
    clouds, _ = fragments()
    pipeline = registration_of(refine=False)
    result = pipeline.register(clouds[:2])
    assert result.placed.all()
    assert np.isnan(result.covariances).all()
    assert 'refinement' not in result.seconds


def test_progress_is_told_and_can_cancel() -> None:
    """Every stage begins, counts up to its total, and an exception of the callback ends all."""
    clouds, _ = fragments()
    pipeline = registration_of()
    steps: list[tuple[str, int, int]] = []
    pipeline.register(clouds[:3], lambda *step: steps.append(step))
    stages = ('features', 'pairs', 'synchronization', 'refinement')
    assert list(dict.fromkeys(step[0] for step in steps)) == list(stages)
    for stage in stages:
        (_, begun, _), *rest = (step for step in steps if step[0] == stage)
        assert begun == 0
        done, total = [step[1] for step in rest], {step[2] for step in rest}
        assert done == list(range(1, len(done) + 1))
        assert total == {len(done)}

    def cancel(stage: str, done: int, total: int) -> None:
        if stage == 'pairs':
            raise RegistrationCancelled

    with pytest.raises(RegistrationCancelled):
        pipeline.register(clouds[:3], cancel)


@pytest.mark.parametrize(('clouds', 'cure'), [
    ([], 'two or more'),
    ([np.zeros((200, 3))], r'has 1 points'),
    ([np.zeros((4, 2)), np.zeros((4, 2))], r'expected \(N, 3\)'),
    ([np.full((4, 3), np.nan)] * 2, 'not finite'),
    ([np.random.default_rng(0).uniform(0, 1e6, (999, 3))] * 2, 'units'),
    ([np.full((4, 3), 'x')] * 2, 'numbers'),
    ([Fragment(np.zeros((4, 3)), sensor_origin=np.full(3, np.nan))] * 2, 'must be finite'),
    ([Fragment(np.zeros((4, 3)), sensor_origin=np.full(3, -1e6))] * 2, 'within 10000 m'),
    ([Fragment(np.zeros((4, 3)), sensor_origin=np.full(3, 1e99))] * 2, 'within 10000 m'),
    ([Fragment(np.zeros((4, 3)), sensor_origin=np.zeros(2))] * 2, 'numbers'),
    ([Fragment(np.zeros((4, 3)), T_map_fragment=np.eye(3))] * 2, 'T_map_fragment'),
    ([Fragment(np.zeros((4, 3)), T_odom_fragment=np.full((4, 4), np.nan))] * 2, 'T_odom_fragment'),
    ([Fragment(np.zeros((4, 3)), T_odom_fragment=np.full((4, 4), 1e5))] * 2, 'subtract an offset'),
])
def test_bad_clouds_are_refused_with_the_cure(clouds: list[np.ndarray], cure: str) -> None:
    """One line that says what is wrong and what to do."""
    with pytest.raises(InputError, match=cure) as refusal:
        MultiviewRegistration.from_pretrained().register(clouds)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize(('parameters', 'cure'), [
    ({'voxle_size': 0.1}, 'did you mean voxel_size'),
    ({'voxel_size': -1.0}, r'\[0.001, 10.0\]'),
    ({'voxel_size': 'big'}, 'write 1.0'),
    ({'min_confidence': float('nan')}, 'min_confidence'),
    ({'method': 'magic'}, 'one of consistency'),
    ({'device': 'cuda:77'}, 'auto'),
    ({'refine': 1}, 'must be bool'),
])
def test_bad_parameters_are_refused_with_the_cure(parameters: dict, cure: str) -> None:
    """The table's names, types, ranges and choices hold for the Python call, too."""
    with pytest.raises(InputError, match=cure):
        MultiviewRegistration.from_pretrained(**parameters)


def test_the_pool_keeps_the_order_and_passes_errors_on() -> None:
    """Results come in the order of the items; an error of a job reaches the caller."""
    assert list(ordered_map(lambda k: k * k, range(50), 2)) == [k * k for k in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda k: 1 // (k - 3), range(9), 2))
