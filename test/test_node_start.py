# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the node starts and ends: parameters, names, QoS, signals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import os
from pathlib import Path
import signal
import subprocess
import sys

from geometry_msgs.msg import PoseArray
from mvreg_ros.node import watchdog
from mvreg_ros.node.consumer import Consumer
from mvreg_ros.node.interface import LATCHED
from mvreg_ros.node.registration_node import RegistrationNode
from mvreg_ros.parameters import PARAMETERS
from mvreg_ros.types import InputError
from node_session import cloud_of, domain, participant, PATIENCE, session, SETTINGS, views
import pytest
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

ROOT = Path(__file__).parents[1]
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep sessions of nodes with default settings out of the user's home."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(Path.home() / '.cache'))  # of the native kernel
    monkeypatch.setenv('HOME', str(tmp_path))


def started(*arguments: str) -> RegistrationNode:
    """Return a node that was started with ROS `arguments` and has ended."""
    with participant(*arguments) as context:
        return RegistrationNode(context=context)


@pytest.mark.parametrize(('setting', 'cure'), [
    ('voxel_size:=1', 'write 1.0 and not 1'),
    ('voxel_size:=-0.1', 'voxel_size out of range Min: 0.001'),
    ('voxel_size:=.nan', 'voxel_size out of range Min: 0.001'),
    ('max_fragments:=1', 'max_fragments out of range. Min: 2'),
    ('method:=magic', 'method must be one of consistency'),
    ('features:=fcgf', 'features fcgf needs weights'),
    ('exclude:=3', "quote what looks like a number: \"'1'\""),
    ('refine:=3', "'refine' to '3' of type 'INTEGER', expecting type 'BOOL'"),
    ('device:=abacus', "device 'abacus'"),
    ('prior.frame:=/map', 'name in prior.frame the frame that odometry is given in'),
    ('session.directory:=~nobody_of_that_name/maps', 'name another folder'),
])
def test_a_wrong_setting_stops_the_start_with_its_cure(setting: str, cure: str) -> None:
    with pytest.raises(InputError, match=cure):
        started('-p', setting)


def test_a_misspelt_parameter_is_named_with_the_nearest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / 'settings.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    voxle_size: 0.5\n    use_sim_time: false\n'
        '    session:\n      directory: /tmp\n')
    started('--params-file', str(file))
    log = capfd.readouterr().err
    assert 'unknown parameter voxle_size, did you mean voxel_size?' in log
    assert log.count('unknown parameter') == 1


def test_the_shipped_parameter_file_sets_the_defaults(capfd: pytest.CaptureFixture[str]) -> None:
    node = started('--params-file', str(ROOT / 'config' / 'register.yaml'))
    for parameter in PARAMETERS:
        assert node.get_parameter(parameter.name).value == parameter.default
        descriptor = node.describe_parameter(parameter.name)
        assert descriptor.description == parameter.description
        assert descriptor.read_only == parameter.read_only
        assert bool(descriptor.additional_constraints) == bool(parameter.choices)
    assert 'unknown parameter' not in capfd.readouterr().err


def test_parameters_are_checked_at_run_time() -> None:
    with participant() as context:
        node = RegistrationNode(context=context)
        for name, value, reason in (
            ('min_confidence', 7.0, 'out of range'),
            ('min_confidence', 1, 'Wrong parameter type'),
            ('voxel_size', 0.5, 'read-only'),
        ):
            result, = node.set_parameters([Parameter(name, value=value)])
            assert not result.successful
            assert reason in result.reason
        result, = node.set_parameters([Parameter('min_confidence', value=0.3)])
        assert result.successful


def test_a_full_buffer_refuses(capfd: pytest.CaptureFixture[str]) -> None:
    with session('-p', 'max_fragments:=2') as running:
        running.publish(views(3)[:2])
        running.fragments.publish(cloud_of(views(3)[2]))
        running.until_status(fragments=2, **{'refused_buffer_full': 1})


def test_everything_is_under_the_namespace_of_the_node() -> None:
    with session('-r', '__ns:=/robot1', '-p', 'map_frame:=hall') as running:
        running.publish(views(3))
        assert running.call('~/register').success
        assert running.receive(PoseArray, '~/poses', LATCHED).header.frame_id == 'hall'
        names = [name for name, _ in running.node.get_topic_names_and_types()]
        ours = [name for name in names if not name.startswith('/robot1/')]
        assert set(ours) <= {'/diagnostics', '/tf_static', '/rosout', '/parameter_events'}


def test_a_best_effort_publisher_is_told_the_cure_and_the_cure_works(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, 'PATIENCE', 0.0)
    cure = 'qos_overrides./fragments.subscription.reliability:=best_effort'
    with session(qos=BEST_EFFORT) as running:
        running.until_status(fragments=0)
        running.consumer.until(
            lambda: cure in capfd.readouterr().err, 'a warning with the cure', PATIENCE)
    with session('-p', cure, qos=BEST_EFFORT) as running:
        running.publish(views(1))


@contextmanager
def executable(*arguments: str) -> Iterator[subprocess.Popen]:
    """Yield the node as a process of its own, which does not outlive the block."""
    with subprocess.Popen(
        [sys.executable, '-m', 'mvreg_ros.node.registration_node', '--ros-args', *SETTINGS,
         *arguments],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain()), 'PYTHONPATH': str(ROOT)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(('signals', 'at_work'), [
    ([signal.SIGINT], False), ([signal.SIGINT, signal.SIGINT], True),
    ([signal.SIGTERM, signal.SIGTERM], True),
])
def test_the_executable_ends_well(signals: list[signal.Signals], at_work: bool) -> None:
    with participant() as context, executable() as process:
        consumer = Consumer(context=context)
        fragments = consumer.create_publisher(PointCloud2, 'fragments', 50)
        consumer.until(
            lambda: bool(consumer.status) and fragments.get_subscription_count() > 0,
            'the node', PATIENCE)
        if at_work:
            for fragment in views(8):
                fragments.publish(cloud_of(fragment))
            consumer.until(lambda: consumer.status['fragments'] == '8', 'fragments', PATIENCE)
            consumer.call(Trigger, '~/register')
            consumer.until(
                lambda: consumer.status['stage'] not in ('idle', 'starting'), 'work', PATIENCE)
        for each in signals:
            process.send_signal(each)
            if at_work:  # let the clean-up begin, which the next signal is to fall into
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.05)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
    assert 'Traceback' not in log


def test_the_executable_names_what_is_wrong_with_its_parameters() -> None:
    with executable('-p', 'method:=magic') as process:
        _, log = process.communicate(timeout=60)
    assert process.returncode == 2
    assert 'method must be one of consistency' in log
    assert 'Traceback' not in log
