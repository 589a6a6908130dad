# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The jobs of a registration on a Ray cluster: the same functions, and so the same results.

A function, with the network in it, goes to a worker once; items go in blocks, each a task that
Ray runs again elsewhere where its worker dies. What is `shared` is in the object store once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
import logging
import os
from pathlib import Path
import platform
import re
import signal
import socket
from threading import current_thread, main_thread
from typing import Any

from mvreg_ros.cache import code_digest
from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.device import select_device
from mvreg_ros.native.library import native_kernel
from mvreg_ros.parallel import CHECK_SECONDS, Item, one_thread_each, Result, workers_for
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import InputError
import numpy as np
import scipy
import torch

CONNECT_SECONDS = 5.0
RETRIES = 5  # of a block whose worker died
AHEAD = 4  # blocks waiting for each core, so that none waits for the one who collects
BLOCKS = 8  # of a map for each core where there are items enough, so that all end together
LARGEST_BLOCK = 16
HELD = 128  # shared values that a worker keeps, a few MB each
CURE = 'start one with ray start --head, or give --ray local'


@contextmanager
def spread(registration: MultiviewRegistration, address: str) -> Iterator[None]:
    """
    Let a pipeline work on the Ray cluster at an address within the block; '': on this machine.

    address: as Ray calls it, host:port, auto, or local for one that lives as long as the block.
    Raises InputError where ray is not installed, no cluster answers, or the device is no CPU.
    """
    if not address:
        yield
        return
    device = select_device(str(registration.parameters['device']))
    if device.type != 'cpu':
        raise InputError('--ray computes on CPUs: set device to cpu')
    method = registration.method
    before = method.mapper
    ray = connected(address, workers_for(device))
    try:
        method.mapper = RayMapper(ray, makeup())
        yield
    finally:
        method.mapper = before
        ray.shutdown()


def connected(address: str, cores: int) -> Any:
    """Return the module ray, connected; cores: of a cluster that is started here."""
    # Read by Ray and by what it starts: it tells nobody that it runs, and of many tasks that fail
    # alike only the first is of interest, which is raised.
    os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_IGNORE_UNHANDLED_ERRORS='1')
    try:
        import ray
    except ImportError as error:
        raise InputError(f"--ray needs ray ({error}): pip install 'mvreg_ros[ray]'") from error
    if match := re.fullmatch(r'([^/]+):(\d+)', address):
        # Ray itself would try for two minutes.
        try:
            socket.create_connection((match[1], int(match[2])), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise InputError(f'no Ray cluster answers at {address} ({error}): {CURE}') from error
    own: dict[str, Any] = (
        {'num_cpus': cores, 'include_dashboard': False} if address == 'local' else {})
    with signals_kept():
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error.__cause__ or error).strip().splitlines()[-1].split('. ')[0]
            raise InputError(f'no Ray cluster can be used at {address} ({reason}): {CURE}; '
                             'docs/cluster.md') from error
    return ray


@contextmanager
def signals_kept() -> Iterator[None]:
    """Undo what the block does to SIGTERM, which ends our commands in an orderly way."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, before)


def makeup() -> dict[str, str]:
    """Return what results depend on besides the input and the kind of processor."""
    return {
        'processor': platform.machine(), 'numpy': np.__version__, 'scipy': scipy.__version__,
        'torch': torch.__version__, 'mvreg_ros': code_digest(Path(__file__).parent)[:12],
        'native kernel': 'used' if native_kernel().library is not None else 'not used',
    }


class RayMapper:
    """The `Mapper` on a cluster; ray: the module, connected. makeup: of this process."""

    def __init__(self, ray: Any, makeup: dict[str, str]) -> None:
        """Map on all cores of the cluster."""
        self.ray = ray
        self.makeup = makeup
        self.task = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
        self.held: dict[int, tuple[object, Any]] = {}

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[Result, None, None]:
        """
        Yield function(item) in the order of the items.

        Raises what the function raises, and InputError where workers die again and again, or are
        on a machine with another version of something. After what cancels the thread that
        iterates, blocks already sent end by themselves, or with the connection: `ray.cancel`
        aborts this process when a task ends at that moment (Ray's issue 54260).
        """
        if not items:
            return
        cores = max(1, int(self.ray.cluster_resources().get('CPU', 1)))
        size = max(1, min(LARGEST_BLOCK, len(items) // (BLOCKS * cores)))
        sent = [self.ray.put(function)]  # in a list: a worker gets it once, not with each task
        waiting: deque[Any] = deque()
        for start in range(0, len(items), size):
            block = list(items[start:start + size])
            waiting.append(self.task.remote(sent, block, self.makeup))
            if len(waiting) > AHEAD * cores:
                yield from self.collected(waiting.popleft())
        while waiting:
            yield from self.collected(waiting.popleft())

    def collected(self, task: Any) -> list[Any]:
        """Wait for a task and return its results."""
        while not self.ray.wait([task], timeout=CHECK_SECONDS)[0]:
            raise_if_cancelled()
        try:
            results: list[Any] = self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            if str(error.cause).startswith('The remote function failed to import'):
                raise InputError('mvreg_ros cannot be imported on a machine of the cluster: '
                                 "pip install 'mvreg_ros[ray]' on all") from error
            raise error.cause from None
        except self.ray.exceptions.RayError as error:
            raise InputError(
                f'a task died on {1 + RETRIES} workers, for want of memory perhaps: give their '
                f'machines fewer --num-cpus ({type(error).__name__})') from error
        return results

    def shared(self, values: Sequence[Item]) -> Sequence[Item]:
        """Return the values as references; each is put into the object store once."""
        # The value is held beside its reference, so that no other gets its id.
        self.held = {id(value): self.held.get(id(value)) or (value, self.ray.put(value))
                     for value in values}
        return Shared([self.held[id(value)][1] for value in values])


class Shared(Sequence):
    """Values in the object store, got where and when they are used."""

    def __init__(self, references: Sequence[Any]) -> None:
        """Hold references to them."""
        self.references = references

    def __len__(self) -> int:
        """Return their number."""
        return len(self.references)

    def __getitem__(self, k: Any) -> Any:
        """Return one of them."""
        return got(self.references[k])


@lru_cache(HELD)
def got(reference: Any) -> Any:
    """Return a value of the object store, the last ones from the memory of this worker."""
    import ray

    return ray.get(reference)


@lru_cache(2)
def function_of(reference: Any) -> Callable[[Any], Any]:
    """Return a function of the object store: that of this map, or of the one before it."""
    import ray

    function: Callable[[Any], Any] = ray.get(reference)
    return function


@lru_cache(1)
def makeup_here() -> dict[str, str]:
    """Return the `makeup` of this worker."""
    return makeup()


def work(sent: list[Any], block: list[Any], expected: dict[str, str]) -> list[Any]:
    """Apply a function to a block of items, in a worker; raises InputError on another makeup."""
    for name, here in makeup_here().items():
        if here != expected[name]:
            raise InputError(
                f'{name} is {here} on {platform.node()} and {expected[name]} where mvreg was '
                'started: install the same on all machines of the cluster')
    function = function_of(sent[0])
    with one_thread_each():
        return [function(item) for item in block]
