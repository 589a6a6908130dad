# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Registration on a real Ray cluster, on this machine: the results are those without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ctypes import CDLL
from importlib import import_module
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
import psutil
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
    begun.write_text(str(os.getpid()))
    while True:
        pass


def inverse(k: int) -> float:
    """Return 1 / (k - 30)."""
    return 1 / (k - 30)


@pytest.fixture(scope='module')
def address() -> Iterator[str]:
    """Start a cluster of two workers; they can import what is in this folder."""
    if ' ' in sys.prefix:
        pytest.skip('Ray does not start from a path with a space in it: clone to another one')
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
        # It ends with this process, even where that is killed: prctl(PR_SET_PDEATHSIG, SIGTERM).
        preexec_fn=lambda: CDLL(None).prctl(1, signal.SIGTERM),
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


@pytest.fixture(scope='module')
def mapper(address: str) -> Iterator[RayMapper]:
    """Return what maps on the cluster; tests of other connections stand before those with it."""
    registration = pipeline()
    with spread(registration, address):
        assert isinstance(registration.method.mapper, RayMapper)
        yield registration.method.mapper


def pipeline(**parameters: object) -> MultiviewRegistration:
    """Return a pipeline for the small scene."""
    return MultiviewRegistration.from_pretrained(
        **{'features': 'fpfh', 'voxel_size': VOXEL_SIZE, 'device': 'cpu', **parameters})


@pytest.mark.parametrize(('command', 'ray'), [('register', 'HOST:PORT'), ('evaluate', 'local')])
def test_a_command_gives_what_it_gives_without(
    tmp_path: Path, address: str, command: str, ray: str,
) -> None:
    write_scene(tmp_path, 'field')
    inputs = (['3dmatch', tmp_path] if command == 'evaluate' else [tmp_path / 'fragments/field'])
    before = signal.getsignal(signal.SIGTERM)
    for where in ('', address if ray == 'HOST:PORT' else ray):
        out = tmp_path / ('cluster' if where else 'threads')
        assert main([command, *map(str, inputs), '--ray', where, '--out', str(out), *COARSE]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    for name in ('poses.tum', 'graph.g2o', 'map.ply', 'edges/field.log', 'multiview/field.log'):
        one, other = tmp_path / 'threads' / name, tmp_path / 'cluster' / name
        assert one.exists() == (('/' in name) == (command == 'evaluate'))
        assert not one.exists() or one.read_bytes() == other.read_bytes()


def test_workers_end_with_the_connection_after_a_cancellation(
    address: str, tmp_path: Path,
) -> None:
    begun = [tmp_path / str(k) for k in range(40)]

    def check() -> None:
        if begun[0].exists() and begun[0].read_text():
            raise RegistrationCancelled('enough')

    registration = pipeline()
    with spread(registration, address), cancelled_by(check), \
            pytest.raises(RegistrationCancelled, match='enough'):
        list(registration.method.mapper.map(without_end, begun))
    worker = int(begun[0].read_text())
    if psutil.pid_exists(worker):
        psutil.Process(worker).wait(60)


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


def test_a_device_that_is_no_cpu_is_refused() -> None:
    registration = pipeline()
    registration.parameters['device'] = 'meta'
    with ExitStack() as stack, pytest.raises(InputError, match='set device to cpu'):
        stack.enter_context(spread(registration, 'local'))


@pytest.mark.parametrize('features', ['cylinder', 'fcgf'])
def test_the_result_is_that_of_one_machine(
    mapper: RayMapper, tmp_path: Path, features: str,
) -> None:
    parameters = {'features': features}
    if features == 'fcgf':
        weights = tmp_path / 'tiny.safetensors'
        write_weights(weights, VOXEL_SIZE)
        parameters |= {'method': 'lmpcr', 'weights': str(weights)}
    expected = pipeline(**parameters).register(CLOUDS)
    registration = pipeline(**parameters)
    registration.method.mapper = mapper
    told = []
    found = registration.register(CLOUDS, lambda *step: told.append(step))
    assert_same_registration(found, expected)
    assert ('features', 5, 5) in told and ('pairs', 10, 10) in told


def test_a_worker_that_is_killed_midway_loses_nothing(
    mapper: RayMapper, tmp_path: Path,
) -> None:
    expected = pipeline().register(CLOUDS)
    registration = pipeline()
    registration.method.mapper = mapper
    # The third of five fragments, and the sixth of ten pairs.
    folders = {'descriptor': tmp_path / 'described', 'register_pair': tmp_path / 'registered'}
    for (name, folder), after in zip(folders.items(), (2, 5), strict=True):
        folder.mkdir()
        function = KilledOnce(getattr(registration.method, name), folder, after)
        setattr(registration.method, name, function)
    assert_same_registration(registration.register(CLOUDS), expected)
    calls = [len(list(folder.iterdir())) for folder in folders.values()]
    assert calls[0] > 5 and calls[1] > 10
    # What is known is not sent again.
    assert_same_registration(registration.register(CLOUDS), expected)
    assert [len(list(folder.iterdir())) for folder in folders.values()] == calls


def test_results_come_in_order_and_an_error_in_its_place(mapper: RayMapper) -> None:
    results = mapper.map(inverse, range(200))
    found = [next(results) for _ in range(16)]
    assert found == [inverse(k) for k in range(16)]
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert list(mapper.map(inverse, [])) == []


def test_a_machine_with_other_versions_is_refused(mapper: RayMapper) -> None:
    other = RayMapper(mapper.ray, makeup() | {'torch': '1.0'})
    with pytest.raises(InputError, match=r'torch is .* and 1.0 where mvreg was started: install'):
        list(other.map(inverse, range(4)))


def test_a_machine_without_the_package_is_named_with_the_cure(
    mapper: RayMapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / 'only_here.py').write_text('def work(*args):\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    other = RayMapper(mapper.ray, makeup())
    other.task = mapper.ray.remote(import_module('only_here').work)
    with pytest.raises(InputError, match='mvreg_ros cannot be imported on a machine'):
        list(other.map(inverse, range(4)))
