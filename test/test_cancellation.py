# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Work that was cancelled ends inside its steps, in whatever thread it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations
import threading
from threading import Event
from typing import NoReturn

import gtsam
from mvreg_ros import MultiviewRegistration
from mvreg_ros.cancellation import cancelled_by, raise_if_cancelled
from mvreg_ros.data.graph import graph_json
from mvreg_ros.features.descriptor import FpfhDescriptor
from mvreg_ros.methods import consistency
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.multiview.irls import IrlsConfig
from mvreg_ros.multiview.optimization import levenberg_marquardt, optimize_poses
from mvreg_ros.multiview.pose_graph import PoseGraphConfig, synchronize
from mvreg_ros.multiview.refinement import GicpCloud, refine_edges, RefinementConfig
from mvreg_ros.pairs.overlap import overlapping_by_priors
from mvreg_ros.pairs.selection import LikelyPairs, SelectionConfig
from mvreg_ros.parallel import one_thread_each, ordered_map
from mvreg_ros.types import Edges, Fragment, RegistrationCancelled, Verdict
from node_session import views
import numpy as np
import pytest
from random_graphs import all_pairs, noise, random_poses, relative
from results import made_up_registration
from threadpoolctl import threadpool_info
import torch

CPU = torch.device('cpu')
VOXEL_SIZE = 0.1
COUNT = 6
POSES = random_poses(np.random.default_rng(0), COUNT)


def edges() -> Edges:
    """Return noisy edges between all nodes."""
    i, j = all_pairs(COUNT)
    count = len(i)
    T_i_j = relative(POSES, i, j) @ noise(np.random.default_rng(1), count, 0.02, 0.02)
    return Edges(
        i=i, j=j, T_i_j=T_i_j, confidence=np.ones(count), inliers=np.full(count, 200),
        evidence=np.full(count, 200.0), information=np.tile(np.eye(6) * 1e3, (count, 1, 1)),
        verdict=np.full(count, Verdict.KEPT, object), reason=np.full(count, '', object))


def describe_one_fragment() -> None:
    FpfhDescriptor(VOXEL_SIZE, CPU)(views(1)[0])


def register_one_pair() -> None:
    descriptor = FpfhDescriptor(VOXEL_SIZE, CPU)
    i, j = (descriptor(fragment) for fragment in views(2))
    ConsistencyMethod(descriptor, VOXEL_SIZE, CPU).register_pair(0, 1, i, j)


def refine_one_edge() -> None:
    rows = np.array([0])
    given = views(2)
    refine_edges(given, edges().select(rows), VOXEL_SIZE)


def overlap_of_many() -> None:
    given = [replace(each, T_odom_fragment=np.eye(4)) for each in views(COUNT)]
    overlapping_by_priors(given, VOXEL_SIZE)


# A loop that runs for all its rounds.
NEVER_STILL = PoseGraphConfig(irls=IrlsConfig(still=0.0))
LONG_STEPS: dict[str, tuple[Callable[[], object], int]] = {
    'features of a fragment': (describe_one_fragment, 10),
    'overlap by priors': (overlap_of_many, COUNT),
    'a pair': (register_one_pair, 25),
    'synchronisation': (lambda: synchronize(COUNT, edges(), 0.5, NEVER_STILL), 25),
    'GICP of an edge': (refine_one_edge, 4),
    'optimisation': (
        lambda: optimize_poses(POSES, np.zeros(COUNT, np.int64), edges()), COUNT + 1),
}


@pytest.mark.parametrize('name', LONG_STEPS)
def test_a_long_step_can_be_cancelled_at_many_places(name: str) -> None:
    step, least = LONG_STEPS[name]
    checks = 0

    def count() -> None:
        nonlocal checks
        checks += 1

    with cancelled_by(count):
        step()
    assert checks >= least

    def cancel_at_the_last() -> None:
        nonlocal checks
        checks -= 1
        if not checks:
            raise RegistrationCancelled('cancelled')

    with cancelled_by(cancel_at_the_last), pytest.raises(RegistrationCancelled):
        step()


def test_a_graph_is_written_with_a_check_for_each_edge() -> None:
    fragments, registration = made_up_registration()
    checks = []
    with cancelled_by(lambda: checks.append(1)):
        graph_json(fragments, registration)
    assert len(checks) >= len(fragments) + len(registration.edges)


def test_checks_nest_and_end_with_their_block() -> None:
    called = []
    with cancelled_by(lambda: called.append('outer')):
        with cancelled_by(lambda: called.append('inner')):
            raise_if_cancelled()
        raise_if_cancelled()
    raise_if_cancelled()
    assert called == ['inner', 'outer']


def until_cancelled(begun: Event, ended: Event) -> NoReturn:
    """Work until the work is cancelled."""
    begun.set()
    try:
        while True:
            raise_if_cancelled()
    finally:
        ended.set()


def test_workers_end_within_their_item_when_the_one_who_waits_is_cancelled() -> None:
    begun, ended = Event(), Event()

    def check() -> None:
        if begun.is_set():
            raise RegistrationCancelled('enough')

    with cancelled_by(check), pytest.raises(RegistrationCancelled, match='enough'):
        list(ordered_map(lambda _: until_cancelled(begun, ended), range(40), 2))
    assert ended.is_set()


def test_workers_end_within_their_item_when_the_iterator_is_closed() -> None:
    begun, ended = Event(), Event()

    def work(item: int) -> int:
        return item if item == 0 else until_cancelled(begun, ended)

    results = ordered_map(work, range(40), 2)
    assert next(results) == 0
    assert begun.wait(60)
    results.close()  # type: ignore[attr-defined]
    assert ended.is_set()


@pytest.mark.parametrize('stage', ['features', 'pairs', 'candidates'])
def test_nothing_is_begun_after_progress_was_refused(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the error, which holds the frames that it came through, is kept."""
    threads_before = set(threading.enumerate())
    pipeline = MultiviewRegistration.from_pretrained(
        features='fpfh', voxel_size=VOXEL_SIZE, device='cpu', pairs='auto')
    monkeypatch.setattr(consistency, 'LikelyPairs', partial(
        LikelyPairs, config=SelectionConfig(few=0)))

    def refuse(name: str, done: int, total: int) -> None:
        if name == stage and done:
            raise RegistrationCancelled('enough')

    with pytest.raises(RegistrationCancelled, match='enough') as kept:
        pipeline.register(views(6), refuse)
    assert set(threading.enumerate()) <= threads_before
    assert kept.tb is not None


def test_the_limit_of_threads_lasts_as_long_as_any_block() -> None:
    """Of BLAS, which all threads share: of two blocks in two threads the first ends first."""
    def limits() -> set[int]:
        return {pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'}

    before = limits(), torch.get_num_threads()
    began, ended = Event(), Event()
    found: list[set[int]] = []

    def second() -> None:
        with one_thread_each():
            began.set()
            ended.wait(60)
            found.append(limits())

    thread = threading.Thread(target=second)
    with one_thread_each():
        assert limits() == {torch.get_num_threads()} == {1}
        thread.start()
        assert began.wait(60)
    ended.set()
    thread.join(60)
    assert found == [{1}]
    assert (limits(), torch.get_num_threads()) == before


def test_threads_that_live_on_do_not_keep_the_limit_for_themselves() -> None:
    """Threadpoolctl lets one thread set the limits of OpenBLAS until it says that it is done."""
    def limits() -> set[int]:
        return {pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas'}

    before = limits()
    done, leave = Event(), Event()

    def first() -> None:
        with one_thread_each():
            pass
        done.set()
        leave.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert done.wait(60)
    try:
        with one_thread_each():
            assert limits() == {1}
        assert limits() == before
    finally:
        leave.set()
        thread.join(60)


def test_the_optimisation_that_can_be_cancelled_is_that_of_gtsam() -> None:
    graph, start = gtsam.NonlinearFactorGraph(), gtsam.Values()
    noisy = edges()
    sigma = gtsam.noiseModel.Isotropic.Sigma(6, 0.1)
    graph.add(gtsam.PriorFactorPose3(0, gtsam.Pose3(POSES[0]), sigma))
    rng = np.random.default_rng(2)
    for k, pose in enumerate(POSES @ noise(rng, COUNT, 0.3, 0.5)):
        start.insert(k, gtsam.Pose3(pose))
    for row, (i, j) in enumerate(combinations(range(COUNT), 2)):
        graph.add(gtsam.BetweenFactorPose3(i, j, gtsam.Pose3(noisy.T_i_j[row]), sigma))
    ours = levenberg_marquardt(graph, start)
    theirs = gtsam.LevenbergMarquardtOptimizer(graph, start).optimize()
    for k in range(COUNT):
        np.testing.assert_array_equal(ours.atPose3(k).matrix(), theirs.atPose3(k).matrix())


def test_a_large_fragment_is_thinned_for_gicp() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (3000, 3)).astype(np.float32)
    sizes = {
        most: len(GicpCloud(Fragment(points), 0.01, RefinementConfig(max_points=most)).points)
        for most in (10000, 500)}
    assert sizes[10000] > 2000 and 300 < sizes[500] <= 500
