# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What ~/status says of a registration that runs, and of the machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import resource
import shutil

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from mvreg_ros.node.forecast import Forecast
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.interface import STATUS
from mvreg_ros.node.job import Stage
from mvreg_ros.node.outputs import NOTHING
from mvreg_ros.node.resources import Resources
from mvreg_ros.node.status import status
from mvreg_ros.types import Registration
from node_session import session, views
import numpy as np
import pytest

MIB = 2**20
PLENTY = Resources(process=100.0, fragments=0.0, disk_free=5000.0, gpu=None)


def registration(count: int, excluded: int = 0, **seconds: float) -> Registration:
    """Return a registration of `count` fragments that took so long."""
    reason = np.array([''] * count + ['excluded'] * excluded, object)
    return replace(NOTHING.registration, reason=reason, seconds=seconds)


def test_progress_and_eta_are_of_the_whole_registration() -> None:
    """After one of 5 fragments in 5 h + 10 h + 5 h, ten of them are 10 h + 45 h + 10 h."""
    forecast = Forecast()
    forecast.learn(registration(5, excluded=3, features=18e3, pairs=36e3, refinement=18e3))
    forecast.begin(10)
    began = 100.0
    for stage in (Stage('starting', began), Stage('features', began)):
        assert forecast.progress(stage) == 0.0 and forecast.eta(stage, began + 2.0) is None
    expected = [
        (Stage('features', began, 5, 10), 5 / 65, 2 * 60 / 5),
        (Stage('features', began, 10, 10), 10 / 65, 2 * 55 / 10),
        (Stage('pairs', began), 10 / 65, 2 * 55 / 10),
        (Stage('pairs', began, 9, 45), 19 / 65, 2 * 46 / 19),
        (Stage('synchronization', began, 0, 1), 55 / 65, 2 * 10 / 55),
        (Stage('odometry', began, 0, 1), 55 / 65, 2 * 10 / 55),
        (Stage('refinement', began, 3, 6), 60 / 65, 2 * 5 / 60),
        (Stage('refinement', began, 6, 6), 1.0, 0.0),
    ]
    for stage, progress, eta in expected:
        assert forecast.progress(stage) == pytest.approx(progress, rel=1e-4)
        assert forecast.eta(stage, began + 2.0) == pytest.approx(eta, rel=1e-4)
    forecast.begin(10)
    assert forecast.told(Stage('pairs', began, 9, 45), began + 2.0) == {
        'stage': 'pairs', 'progress': '0.292', 'eta': '4.8'}


def test_progress_does_not_fall_when_a_stage_finds_more_to_do() -> None:
    forecast = Forecast()
    forecast.learn(registration(4, pairs=9e5, unheard_of=9.0, refinement=1e5))
    forecast.begin(4)
    steps = [Stage('pairs', 0.0, *step) for step in ((1, 2), (2, 2), (3, 6), (6, 6))]
    assert [forecast.progress(step) for step in steps] == pytest.approx(
        [0.45, 0.9, 0.9, 0.9], rel=1e-4)
    forecast.begin(4)
    assert forecast.progress(Stage('starting', 0.0)) == 0.0


def test_with_likely_pairs_the_first_look_counts_and_pairs_grow_with_fragments() -> None:
    """Rounds of looks and pairs after the first take nothing back."""
    forecast = Forecast('auto')
    forecast.begin(1000)
    steps = [
        Stage('features', 0.0, 1000, 1000), Stage('candidates', 0.0, 1, 2),
        Stage('candidates', 0.0, 2, 2), Stage('pairs', 0.0, 1, 2), Stage('pairs', 0.0, 2, 2),
        Stage('candidates', 0.0, 0, 2), Stage('pairs', 0.0, 2, 4),
        Stage('refinement', 0.0, 1, 1)]
    progress = [forecast.progress(step) for step in steps]
    assert progress[0] < progress[1] < progress[2] < progress[3] < progress[4]
    assert progress[4] == progress[5] == progress[6] < progress[7] == 1.0
    assert progress[0] > 0.2  # not a thousandth, as with all pairs


def test_before_the_first_registration_the_shares_are_those_measured() -> None:
    forecast = Forecast()
    forecast.begin(2)
    few = forecast.progress(Stage('pairs', 0.0, 0, 1))
    forecast.begin(100)
    assert 0.6 < few < 0.9 and forecast.progress(Stage('pairs', 0.0, 0, 1)) < 0.1


def test_what_came_out_of_the_cache_says_nothing_of_the_next_time() -> None:
    forecast = Forecast()
    forecast.learn(registration(4, features=4e4, pairs=6e4, refinement=2e4))
    forecast.learn(registration(4, features=0.01, pairs=0.01, refinement=4e4))
    forecast.begin(4)
    assert forecast.progress(Stage('pairs', 0.0, 0, 1)) == pytest.approx(4 / 14, rel=1e-4)
    assert forecast.progress(Stage('refinement', 0.0, 0, 1)) == pytest.approx(10 / 14, rel=1e-4)


def test_a_first_registration_out_of_the_cache_says_nothing_either() -> None:
    """With a session of 60 fragments that was gone on with, and ten new ones."""
    forecast, fresh = Forecast(), Forecast()
    forecast.learn(registration(
        60, features=0.05, pairs=0.5, synchronization=1.0, refinement=18.0))
    for each in (forecast, fresh):
        each.begin(70)
    late = Stage('pairs', 0.0, 2414, 2415)
    assert forecast.eta(late, 383.0) == pytest.approx(fresh.eta(late, 383.0))


def told(message: DiagnosticArray) -> dict[str, str]:
    """Return the values of a status."""
    return {pair.key: pair.value for pair in message.status[0].values}


def test_a_disk_that_fills_up_is_a_warning(tmp_path: Path) -> None:
    def found(disk_free: float | None) -> DiagnosticArray:
        buffer = FragmentBuffer(lambda fragment: fragment, 0.1, tmp_path)
        resources = replace(PLENTY, disk_free=disk_free)
        return status('/mvreg', Time(), buffer, {}, {}, resources,
                      [resources.problem] if resources.problem else [])

    for disk_free in (1000.0, None):
        assert found(disk_free).status[0].level == DiagnosticStatus.OK
        assert told(found(disk_free))['problem'] == ''
    assert 'disk_free_mb' not in told(found(None))
    low = found(999.0)
    assert low.status[0].level == DiagnosticStatus.WARN
    assert told(low)['problem'] == (
        'the disk of session.directory has 999 MiB left, less than 1000: free some; fragments are '
        'refused when it is full')
    assert low.status[0].message == f"ready, 0 fragments; {told(low)['problem']}"


def test_resources_are_those_of_the_process_its_fragments_and_their_disk(tmp_path: Path) -> None:
    buffer = FragmentBuffer(lambda fragment: fragment, 0.1, tmp_path / 'not' / 'there')
    buffer.fragments = views(2)
    found = Resources.of(buffer, 'cpu')
    assert found.fragments == sum(len(each.points) for each in views(2)) * 12 / MIB
    # The kernel keeps the peak by batches of pages in each thread: it may lag behind a little.
    assert 10 < found.process <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + 8
    assert found.disk_free == pytest.approx(shutil.disk_usage(tmp_path).free / MIB, rel=0.1)
    assert found.gpu is None


def test_a_node_tells_of_a_whole_registration_and_never_goes_back() -> None:
    with session() as node:
        heard: list[dict[str, str]] = []
        node.consumer.create_subscription(
            DiagnosticArray, 'mvreg/status', lambda message: heard.append(told(message)), STATUS)
        node.publish(views(5))
        assert float(node.consumer.status['fragments_mb']) > 0
        assert node.call('~/register').success
        node.until_status(stage='idle')
        running = [each for each in heard if each['stage'] not in ('idle', 'starting')]
        stages = list(dict.fromkeys(each['stage'] for each in running))
        assert stages == sorted(stages, key=[
            'features', 'pairs', 'synchronization', 'refinement'].index)
        progress = [float(each['progress']) for each in running]
        assert progress == sorted(progress) and 0 <= progress[0] < progress[-1] <= 1
        assert [each['eta'] for each in running if float(each['progress']) > 0.001].count('') == 0
