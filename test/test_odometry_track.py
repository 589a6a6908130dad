# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The way of the sensor by odometry: what follows what, and how surely it is known."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.multiview.odometry import deviations, OdometryConfig, Track
from mvreg_ros.multiview.odometry_links import with_odometry
import numpy as np
from odometry_looks import clear
from odometry_walk import COUNT, fragments, PARTS, reasons, TRUTH, walk
import pytest
from scipy.spatial.transform import Rotation


def test_stamps_and_not_ids_say_what_follows_what() -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    some = [replace(f, stamp_ns=10 * int(k)) for f, k in zip(
        fragments(walk()[order]), order, strict=True)]
    track = Track(some, OdometryConfig())
    assert order[track.ids].tolist() == list(range(COUNT))
    edges = track.edges()
    assert (edges.i < edges.j).all()
    assert (np.abs(order[edges.i] - order[edges.j]) == 1).all()
    truth = walk()[order]
    np.testing.assert_allclose(
        edges.T_i_j, np.linalg.inv(truth[edges.i]) @ truth[edges.j], atol=1e-9)


def test_odometry_is_surer_of_a_short_way() -> None:
    track = Track(fragments(TRUTH), OdometryConfig())
    _, sigma = track.between(np.zeros(COUNT, int), np.arange(COUNT))
    assert (np.diff(sigma, axis=0) > 0).all()
    config = OdometryConfig()
    np.testing.assert_allclose(sigma[0], [config.distance, config.angle])
    np.testing.assert_allclose(sigma[2], [
        config.distance + config.distance_per_metre,
        config.angle + config.angle_per_metre + config.angle_per_radian * np.radians(30)])


def test_fragments_of_different_runs_are_not_linked() -> None:
    """The robot was switched off after 3: its odometry began anew, at the identity."""
    began_anew = [*TRUTH[:4], *(np.linalg.inv(TRUTH[4]) @ TRUTH[4:])]
    some = [replace(f, odometry_run=int(k > 3)) for k, f in enumerate(fragments(began_anew))]
    found = with_odometry(PARTS, some, clear)
    assert sorted(reasons(found)) == [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7), (7, 8)]
    assert found.component.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    T_i_j, sigma = Track(some, OdometryConfig()).between(np.array([3, 4]), np.array([4, 5]))
    assert np.isnan(T_i_j[0]).all() and np.isnan(sigma[0]).all()
    np.testing.assert_allclose(T_i_j[1], np.linalg.inv(TRUTH[4]) @ TRUTH[5], atol=1e-9)
    assert np.isfinite(sigma[1]).all()


def test_a_bag_that_is_played_twice_is_two_walks() -> None:
    """The stamps of the second run are those of the first."""
    twice = [replace(f, odometry_run=run) for run in range(2) for f in fragments(TRUTH[:3])]
    edges = Track(twice, OdometryConfig()).edges()
    assert list(zip(edges.i, edges.j, strict=True)) == [(0, 1), (1, 2), (3, 4), (4, 5)]


def test_a_run_of_one_fragment_links_nothing() -> None:
    some = [replace(f, odometry_run=k) for k, f in enumerate(fragments(TRUTH))]
    assert with_odometry(PARTS, some, clear) is PARTS


def test_an_angle_moves_what_is_far_from_the_sensor() -> None:
    far = [replace(f, sensor_origin=np.array([0, 0, -4], np.float32)) for f in fragments(TRUTH)]
    near, there = (Track(some, OdometryConfig()).between(np.array([0]), np.array([1]))[1][0]
                   for some in (fragments(TRUTH), far))
    assert there[1] == pytest.approx(near[1], abs=1e-6)
    assert there[0] > 4 * there[1] > near[0]


def test_deviations_count_translation_and_rotation() -> None:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler('x', 0.2).as_matrix()
    T[:3, 3] = 0, 0.3, 0
    found = deviations(np.eye(4)[None], T[None], np.array([[0.1, 0.1]]))
    np.testing.assert_allclose(found, 3**2 + 2**2)
