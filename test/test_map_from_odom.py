# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where odometry is in the map, by the fragments of a run."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.multiview.odometry import map_from_odom
from mvreg_ros.types import Edges, Fragment, Registration
import numpy as np
from random_graphs import random_poses

TRUTH = random_poses(np.random.default_rng(0), 5)
NOTHING = np.zeros((0, 3), np.float32)


def placed(component: list[int]) -> Registration:
    """Return a registration with the true poses and these components."""
    labels = np.array(component)
    poses = np.where((labels >= 0)[:, None, None], TRUTH[:len(labels)], np.nan)
    return Registration(
        poses=poses, placed=labels >= 0, component=labels, covariances=np.zeros((0, 6, 6)),
        edges=Edges.of([]), reason=np.full(len(labels), '', object), seconds={})


def test_map_to_odom_puts_the_last_placed_fragment_where_it_was_registered() -> None:
    T_odom = [np.linalg.inv(TRUTH[k]) for k in range(5)]
    some = [Fragment(NOTHING, k, stamp_ns=10 * k, T_odom_fragment=T)
            for k, T in enumerate(T_odom)]
    some[4] = replace(some[4], T_odom_fragment=None)
    assert map_from_odom(placed([-1] * 5), some, 0) is None
    assert map_from_odom(placed([0, 0, 0, 1, 0]), some, 1) is None
    T_map_odom = map_from_odom(placed([0, 0, 0, 1, 0]), some, 0)
    assert T_map_odom is not None
    np.testing.assert_allclose(T_map_odom @ T_odom[2], TRUTH[2], atol=1e-9)
    same = [replace(f, stamp_ns=7) for f in some]
    T_map_odom = map_from_odom(placed([0, 0, 0, 1, 0]), same, 0)
    assert T_map_odom is not None
    np.testing.assert_allclose(T_map_odom @ T_odom[2], TRUTH[2], atol=1e-9)
    early = [replace(f, stamp_ns=-f.stamp_ns) for f in some]
    T_map_odom = map_from_odom(placed([0, 0, 0, 1, 0]), early, 0)
    assert T_map_odom is not None
    np.testing.assert_allclose(T_map_odom @ T_odom[0], TRUTH[0], atol=1e-9)
    again = [replace(f, odometry_run=int(k < 2)) for k, f in enumerate(some)]
    T_map_odom = map_from_odom(placed([0, 0, 0, 1, 0]), again, 1)
    assert T_map_odom is not None
    np.testing.assert_allclose(T_map_odom @ T_odom[1], TRUTH[1], atol=1e-9)
