# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Registration on a real Ray cluster, on this machine: the results are those without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
import json
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import NoReturn

from mvreg_ros import MultiviewRegistration
from mvreg_ros.cancellation import cancelled_by
from mvreg_ros.cli import main
from mvreg_ros.cluster import makeup, RayMapper, spread
from mvreg_ros.types import InputError, RegistrationCancelled
import pytest
from results import assert_same_registration
from small_scene import fragments, VOXEL_SIZE, write_scene
from tiny_network import write_weights

CLOUDS = fragments()[0]
COARSE = ['--features', 'fpfh', '--voxel-size', str(VOXEL_SIZE)]


class KilledOnce:
    """A function whose process is killed, SIGKILL, at the call that finds so many marks before."""

    def __init__(self, function: Callable, folder: Path, after: int) -> None:
        """Let the marks be in a folder."""
        self.function, self.folder, self.after = function, folder, after

    def __call__(self, *args: object) -> object:
        """Call the function, or be killed."""
        calls = len(list(self.folder.iterdir()))
        (self.folder / f'{calls}_{os.getpid()}').touch()
        if calls == self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.function(*args)


def without_end(begun: Path) -> NoReturn:
    """Work until the work is interrupted."""
    begun.touch()
    while True:
        pass


def inverse(k: int) -> float:
    """Return 1 / (k - 30)."""
    return 1 / (k - 30)


@pytest.fixture(scope='module')
def address() -> Iterator[str]:
    """Start a cluster of two workers; they can import what is in this folder."""
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, str(Path(here).parent), os.environ.get('PYTHONPATH', '')])
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with TemporaryDirectory(prefix='ray') as folder, subprocess.Popen(
        [Path(sys.executable).with_name('ray'), 'start', '--head', '--block', f'--port={port}',
         '--num-cpus=2', '--object-store-memory=100000000', '--include-dashboard=false',
         '--min-worker-port=0', '--max-worker-port=0', f'--temp-dir={folder}'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, 'PYTHONPATH': path},
    ) as head:
        assert head.stdout is not None
        lines = []
        for line in head.stdout:
            lines.append(line)
            if '--address=' in line:
                break
        else:
            pytest.fail(''.join(lines))
        yield line.split("'")[1]
        head.terminate()
        head.communicate()


@pytest.fixture
def mapper(address: str) -> Iterator[RayMapper]:
    """Return what maps on the cluster."""
    registration = pipeline()
    with spread(registration, address):
        assert isinstance(registration.method.mapper, RayMapper)
        yield registration.method.mapper


def pipeline(**parameters: object) -> MultiviewRegistration:
    """Return a pipeline for the small scene."""
    return MultiviewRegistration.from_pretrained(
        **{'features': 'fpfh', 'voxel_size': VOXEL_SIZE, 'device': 'cpu', **parameters})


@pytest.mark.parametrize('features', ['cylinder', 'fcgf'])
def test_the_result_is_that_of_one_machine(
    address: str, tmp_path: Path, features: str,
) -> None:
    parameters = {'features': features}
    if features == 'fcgf':
        weights = tmp_path / 'tiny.safetensors'
        write_weights(weights, VOXEL_SIZE)
        parameters |= {'method': 'lmpcr', 'weights': str(weights)}
    expected = pipeline(**parameters).register(CLOUDS)
    registration = pipeline(**parameters)
    told = []
    with spread(registration, address):
        found = registration.register(CLOUDS, lambda *step: told.append(step))
    assert_same_registration(found, expected)
    assert ('features', 5, 5) in told and ('pairs', 10, 10) in told


@pytest.mark.parametrize(('part', 'after'), [('descriptor', 2), ('register_pair', 5)])
def test_a_worker_that_is_killed_midway_loses_nothing(
    address: str, tmp_path: Path, part: str, after: int,
) -> None:
    expected = pipeline().register(CLOUDS)
    registration = pipeline()
    function = getattr(registration.method, part)
    setattr(registration.method, part, KilledOnce(function, tmp_path, after))
    with spread(registration, address):
        found = registration.register(CLOUDS)
        assert_same_registration(found, expected)
        calls = len(list(tmp_path.iterdir()))
        assert calls > (5 if part == 'descriptor' else 10)
        # What is known is not sent again.
        assert_same_registration(registration.register(CLOUDS), expected)
    assert len(list(tmp_path.iterdir())) == calls


def test_results_come_in_order_and_an_error_in_its_place(mapper: RayMapper) -> None:
    results = mapper.map(inverse, range(200))
    found = [next(results) for _ in range(16)]
    assert found == [inverse(k) for k in range(16)]
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert list(mapper.map(inverse, [])) == []


def test_workers_are_free_again_after_a_cancellation(mapper: RayMapper, tmp_path: Path) -> None:
    begun = [tmp_path / str(k) for k in range(40)]

    def check() -> None:
        if begun[0].exists():
            raise RegistrationCancelled('enough')

    with cancelled_by(check), pytest.raises(RegistrationCancelled, match='enough'):
        list(mapper.map(without_end, begun))
    assert list(mapper.map(inverse, range(4))) == [inverse(k) for k in range(4)]


def test_a_machine_with_other_versions_is_refused(mapper: RayMapper) -> None:
    other = RayMapper(mapper.ray, makeup() | {'torch': '1.0'})
    with pytest.raises(InputError, match='torch is .* and 1.0 where mvreg was started: install'):
        list(other.map(inverse, range(4)))


def test_the_commands_give_what_they_give_without(address: str, tmp_path: Path) -> None:
    write_scene(tmp_path, 'field')
    for ray in ('', address):
        for command in (['register', str(tmp_path / 'fragments/field')],
                        ['evaluate', '3dmatch', str(tmp_path)]):
            out = tmp_path / f'{command[0]}{bool(ray)}'
            assert main([*command, '--ray', ray, '--out', str(out), *COARSE]) == 0
    for name in ('poses.tum', 'graph.g2o', 'graph.json', 'map.ply', 'fragments.csv'):
        one, other = (tmp_path / f'register{each}' / name for each in (False, True))
        assert one.read_bytes() == other.read_bytes()
    one, other = (json.loads((tmp_path / f'evaluate{each}/metrics.json').read_text())
                  for each in (False, True))
    assert one['calibration'] == other['calibration']
    assert one['pooled'] == other['pooled']


def test_a_cluster_of_its_own(tmp_path: Path) -> None:
    registration = pipeline()
    before = signal.getsignal(signal.SIGTERM)
    with spread(registration, 'local'):
        assert signal.getsignal(signal.SIGTERM) is before
        found = registration.register(CLOUDS[:3])
    assert_same_registration(found, pipeline().register(CLOUDS[:3]))


@pytest.mark.parametrize(('command', 'ray', 'cause'), [
    ('register', '127.0.0.1:9', 'no Ray cluster answers at 127.0.0.1:9 ('),
    ('register', 'nowhere', 'no Ray cluster can be used at nowhere ('),
    ('evaluate', 'auto', '--ray is for clouds, and sync registers none'),
])
def test_refusals_are_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, command: str, ray: str, cause: str,
) -> None:
    inputs = [str(tmp_path)] if command == 'register' else ['sync', str(tmp_path)]
    (tmp_path / 'cloud.ply').write_text('no cloud')
    assert main([command, *inputs, '--ray', ray, '--out', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'mvreg: error: {cause}') and error.count('\n') == 1
    assert [path.name for path in tmp_path.iterdir()] == ['cloud.ply']


def test_where_ray_is_missing_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    with ExitStack() as stack, pytest.raises(InputError, match=r"pip install 'mvreg_ros\[ray\]'"):
        stack.enter_context(spread(pipeline(), 'local'))
