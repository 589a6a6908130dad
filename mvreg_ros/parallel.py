# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many small independent jobs at once, with results that do not depend on how many at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
import ctypes
from dataclasses import dataclass
from functools import lru_cache
import os
from threading import Event, Lock
import time
from typing import Protocol, TypeVar

from mvreg_ros.cancellation import cancelled_by, raise_if_cancelled
from mvreg_ros.types import RegistrationCancelled
from threadpoolctl import threadpool_limits
import torch

Item = TypeVar('Item')
Result = TypeVar('Result')
AHEAD = 16  # jobs a worker has waiting, so that it never waits for the one who collects
CHECK_SECONDS = 0.1
TRIM_SECONDS = 1.0


class Mapper(Protocol):
    """Where jobs run: threads of this process, or other processes (`mvreg_ros.cluster`)."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[Result, None, None]:
        """
        Yield function(item) in the order of the items, as `ordered_map`.

        function: holds no lock, file or cache, so that it can be sent; what is large and used by
        more than one function it holds as `shared`.
        """

    def shared(self, values: Sequence[Item]) -> Sequence[Item]:
        """Return the values in a form that functions hold without being sent all of them."""


@dataclass(frozen=True)
class Threads:
    """The `Mapper` on the cores of this machine."""

    workers: int

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[Result, None, None]:
        """Yield function(item) in the order of the items."""
        return ordered_map(function, items, self.workers)

    def shared(self, values: Sequence[Item]) -> Sequence[Item]:
        """Return the values: threads share all."""
        return values


def workers_for(device: torch.device) -> int:
    """
    Return how many threads to use: torch's number on the CPU (set OMP_NUM_THREADS), one for a GPU.

    Ask before any work begins: torch's number in a thread begun after a pool has run is one.
    """
    return torch.get_num_threads() if device.type == 'cpu' else 1


class ThreadLimits:
    """Limits the threads of torch and of BLAS, which all threads share, while any block runs."""

    def __init__(self) -> None:
        """Limit nothing yet."""
        self._lock = Lock()
        self._blocks = 0

    def begin(self) -> None:
        """Begin a block in this thread."""
        with self._lock:
            if not self._blocks:
                self._torch_threads = torch.get_num_threads()
                self._limits = threadpool_limits(1, user_api='blas')
            self._blocks += 1
            torch.set_num_threads(1)

    def end(self) -> None:
        """End a block in this thread; the last one lifts the limits."""
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                with self._limits:  # which restores them, and lets any thread set the next
                    pass
            torch.set_num_threads(self._torch_threads)


LIMITS = ThreadLimits()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """
    Let torch, OpenMP and BLAS compute in the thread that calls them, for as long as the block.

    Our jobs are many and small: they share the cores by themselves. The libraries' own threads
    would wait for one another after each small operator, spinning, and where something else needs
    a core they wait for long. The limit is the whole process's.
    """
    LIMITS.begin()
    try:
        with threadpool_limits(1, user_api='openmp'):  # each thread has a number of its own
            yield
    finally:
        LIMITS.end()


@lru_cache(1)
def trim() -> Callable[[int], int] | None:
    """Return malloc_trim of glibc, None where the C library is another."""
    return getattr(ctypes.CDLL(None), 'malloc_trim', None) if os.name == 'posix' else None


def give_back_memory() -> None:
    """
    Give memory that is free back to the system.

    Results that stay lie between temporaries that are gone, and glibc keeps the holes: five times
    as much as is in use after some dozen fragments.
    """
    malloc_trim = trim()
    if malloc_trim is not None:
        malloc_trim(0)


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[Result, None, None]:
    """
    Yield function(item) in the order of the items.

    Each worker uses single-threaded operators: no barriers between small operators, and sums that
    always run in the same order. Closing the iterator drops the items not yet begun and cancels
    those under way; so does what cancels the thread that iterates.
    """
    closed = Event()
    trimmed = time.monotonic()

    def check() -> None:
        if closed.is_set():
            raise RegistrationCancelled('cancelled')

    def work(item: Item) -> Result:
        with cancelled_by(check):
            return function(item)

    def collected(future: Future[Result]) -> Result:
        nonlocal trimmed
        while not wait([future], CHECK_SECONDS).done:
            raise_if_cancelled()
        if time.monotonic() - trimmed > TRIM_SECONDS:
            give_back_memory()
            trimmed = time.monotonic()
        return future.result()

    pool = ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1))
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD * workers:
                yield collected(waiting.popleft())
        while waiting:
            yield collected(waiting.popleft())
    finally:
        closed.set()
        pool.shutdown(cancel_futures=True)
        give_back_memory()
