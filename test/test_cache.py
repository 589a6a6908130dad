# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A second registration computes what is new, and its result is that of a fresh run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing import get_context
import os
from pathlib import Path
import signal
import sqlite3

from mvreg_ros import MultiviewRegistration
from mvreg_ros.cache import Cache, code_digest, MemoryCache
from mvreg_ros.session import cache as session_cache
from mvreg_ros.session.cache import SessionCache
from mvreg_ros.types import Fragment, Registration, RegistrationCancelled
import numpy as np
import pytest
from results import assert_same_registration
from small_scene import fragments, VOXEL_SIZE
from tiny_network import write_weights
import torch

CLOUDS = fragments()[0][:4]  # and so six pairs
CPU = torch.device('cpu')


class Counting:
    """Counts the calls of a function."""

    def __init__(self, function: Callable) -> None:
        """Count calls of `function`."""
        self.function = function
        self.calls = 0

    def __call__(self, *args: object) -> object:
        """Call the function."""
        self.calls += 1
        return self.function(*args)


def pipeline(cache: Cache | None = None, **parameters: object) -> MultiviewRegistration:
    """Return a pipeline that counts, in place of its descriptor and its register_pair."""
    result = MultiviewRegistration.from_pretrained(
        **{'features': 'fpfh', 'voxel_size': VOXEL_SIZE, 'device': 'cpu', **parameters})
    result.cache = cache or result.cache
    for name in {'descriptor', 'register_pair'} & vars(result.method).keys():
        setattr(result.method, name, Counting(getattr(result.method, name)))
    return result


def test_another_code_has_another_key(tmp_path: Path) -> None:
    """What was computed before an update is not taken for what is computed after it."""
    digests = []
    for version, text in (('a', 'x = 1'), ('b', 'x = 2'), ('c', 'x = 1')):
        (tmp_path / version).mkdir()
        (tmp_path / version / 'part.py').write_text(text)
        (tmp_path / version / 'notes.txt').write_text(version)
        digests.append(code_digest(tmp_path / version))
    assert digests[0] == digests[2] != digests[1]


def calls(registration: MultiviewRegistration) -> tuple[int, int]:
    """Return how many fragments were described and pairs registered since the last time."""
    found = []
    for name in ('descriptor', 'register_pair'):
        counter = getattr(registration.method, name, Counting(print))
        found.append(counter.calls)
        counter.calls = 0
    return found[0], found[1]


@pytest.fixture(scope='module')
def fresh() -> Registration:
    """Return the registration of all clouds by a pipeline that knows nothing."""
    registration = pipeline()
    result = registration.register(CLOUDS)
    assert calls(registration) == (4, 6)
    return result


def test_a_second_call_computes_what_is_new(fresh: Registration) -> None:
    registration = pipeline()
    registration.register(CLOUDS[:3])
    assert calls(registration) == (3, 3)
    assert_same_registration(registration.register(CLOUDS), fresh)
    assert calls(registration) == (1, 3)
    assert_same_registration(registration.register(CLOUDS), fresh)
    assert calls(registration) == (0, 0)


def test_order_and_other_content_are_told_apart(fresh: Registration) -> None:
    registration = pipeline()
    registration.register(CLOUDS)
    calls(registration)
    backwards = registration.register(CLOUDS[::-1])
    assert calls(registration) == (0, 6)  # T_j_i is another question than T_i_j
    assert_same_registration(backwards, pipeline().register(CLOUDS[::-1]))
    moved = [Fragment(CLOUDS[0], sensor_origin=np.ones(3, np.float32)), *CLOUDS[1:]]
    registration.register(CLOUDS)
    calls(registration)
    registration.register(moved)
    assert calls(registration) == (1, 3)


def test_memory_holds_what_the_last_registration_used() -> None:
    registration = pipeline()
    registration.register(CLOUDS)
    registration.register(CLOUDS[:2])
    calls(registration)
    registration.register(CLOUDS)
    assert calls(registration) == (2, 5)


def test_what_was_computed_before_a_cancellation_is_known() -> None:
    registration = pipeline()

    def cancel(stage: str, done: int, total: int) -> None:
        if (stage, done) == ('pairs', 4):
            raise RegistrationCancelled('cancelled')

    with pytest.raises(RegistrationCancelled):
        registration.register(CLOUDS, cancel)
    assert calls(registration)[0] == 4
    registration.register(CLOUDS)
    described, registered = calls(registration)
    assert described == 0 and registered <= 2


def test_a_restart_computes_what_is_new(
    tmp_path: Path, fresh: Registration, caplog: pytest.LogCaptureFixture,
) -> None:
    for count, expected in ((3, (3, 3)), (4, (1, 3)), (4, (0, 0))):
        with closing(SessionCache(tmp_path, CPU)) as cache:
            registration = pipeline(cache)
            result = registration.register(CLOUDS[:count])
            assert calls(registration) == expected
    assert_same_registration(result, fresh)
    assert caplog.records == []


def killed(folder: Path, commit_seconds: float) -> None:
    """Register in this process, which is killed after four of six pairs."""
    session_cache.COMMIT_SECONDS = commit_seconds

    def kill(stage: str, done: int, total: int) -> None:
        if (stage, done) == ('pairs', 4):
            os.kill(os.getpid(), signal.SIGKILL)

    pipeline(SessionCache(folder, CPU)).register(CLOUDS, kill)


@pytest.mark.parametrize(('commit_seconds', 'described', 'registered'), [
    (0.0, 0, range(3)), (1e9, 4, range(6, 7))])
def test_a_process_that_was_killed_loses_what_came_after_its_last_commit(
    tmp_path: Path, commit_seconds: float, described: int, registered: range,
) -> None:
    # No server to fork from: it would keep the environment of now for tests of nodes that follow.
    processes = get_context('spawn')
    process = processes.Process(target=killed, args=(tmp_path, commit_seconds))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with closing(SessionCache(tmp_path, CPU)) as cache:
        again = pipeline(cache)
        again.register(CLOUDS)
        found = calls(again)
        assert found[0] == described and found[1] in registered


@pytest.mark.parametrize('method', ['consistency', 'lmpcr'])
def test_the_features_of_a_network_come_back_and_other_weights_have_others(
    tmp_path: Path, method: str,
) -> None:
    write_weights(tmp_path / 'one.safetensors', VOXEL_SIZE)
    write_weights(tmp_path / 'other.safetensors', 2 * VOXEL_SIZE)
    learned = partial(
        pipeline, features='fcgf', method=method, min_confidence=0.0, refine=False)
    with closing(SessionCache(tmp_path, CPU)) as cache:
        registration = learned(cache, weights=str(tmp_path / 'one.safetensors'))
        expected = registration.register(CLOUDS[:3])
        assert calls(registration)[0] == 3
        again = learned(cache, weights=str(tmp_path / 'one.safetensors'))
        assert_same_registration(again.register(CLOUDS[:3]), expected)
        assert not any(calls(again))
        other = learned(cache, weights=str(tmp_path / 'other.safetensors'))
        other.register(CLOUDS[:3])
        assert calls(other)[0] == 3


def damaged_value(path: Path) -> None:
    """Change a byte of a pair, as a bad disk would."""
    with closing(sqlite3.connect(path)) as database, database:
        key, value = database.execute(
            'SELECT key, value FROM results '
            'WHERE length(key) = 129 AND substr(key, 65, 1) = " " LIMIT 1').fetchone()
        value = value[:-1] + bytes([value[-1] ^ 1])
        database.execute('UPDATE results SET value = ? WHERE key = ?', (value, key))


@pytest.mark.parametrize(('damage', 'expected', 'log'), [
    (damaged_value, (0, 1), 'a result is damaged and is computed again'),
    (lambda path: path.write_bytes(b'rubbish' * 1000), (4, 6), 'the damaged file is now'),
    (lambda path: path.write_bytes(b''), (4, 6), ''),
    (lambda path: path.write_bytes(path.read_bytes()[:100]), (4, 6), 'the damaged file is now'),
])
def test_a_damaged_cache_is_computed_again_and_kept(
    tmp_path: Path, fresh: Registration, caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None], expected: tuple[int, int], log: str,
) -> None:
    with closing(SessionCache(tmp_path, CPU)) as cache:
        pipeline(cache).register(CLOUDS)
    damage(tmp_path / 'cache.sqlite')
    with closing(SessionCache(tmp_path, CPU)) as cache:
        registration = pipeline(cache)
        assert_same_registration(registration.register(CLOUDS), fresh)
        assert calls(registration) == expected
        assert log in caplog.text and bool(caplog.records) == bool(log)
    with closing(SessionCache(tmp_path, CPU)) as cache:
        registration = pipeline(cache)
        registration.register(CLOUDS)
        assert calls(registration) == (0, 0)


def test_without_a_disk_everything_is_computed_and_the_log_says_so(
    tmp_path: Path, fresh: Registration, caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(SessionCache(tmp_path / 'not' / 'there', CPU)) as cache:
        registration = pipeline(cache)
        assert_same_registration(registration.register(CLOUDS), fresh)
        assert calls(registration) == (4, 6)
    assert 'unable to open database file' in caplog.text


def test_features_without_a_key_are_never_known() -> None:
    cache = MemoryCache()
    features = pipeline().method.descriptor.function(Fragment(CLOUDS[0]))
    assert features.key == ''
    cache.keep(features.key, features)
    assert cache.find(features.key) is None
