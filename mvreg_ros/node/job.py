# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Long work beside the executor: one piece at a time, with progress, and it can be cancelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any, TypeVar

from mvreg_ros.cancellation import cancelled_by
from mvreg_ros.types import InputError, Progress, RegistrationCancelled
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.task import Future

T = TypeVar('T')
NOTIFY_PERIOD = 0.1  # seconds between two calls of `changed` within a stage


@dataclass(frozen=True)
class Stage:
    """A stage of the work, and how much of it is done; began: (monotonic) time of the work."""

    name: str
    began: float
    done: int = 0
    total: int = 1


class Job:
    """
    Runs work in a thread of its own while the node's executor goes on, even a single-threaded one.

    The thread is a daemon: the threads of a pool would keep the process from ending.
    """

    def __init__(self, node: Node, changed: Callable[[], None]) -> None:
        """Call `changed`, from the thread, when `stage` has a new value."""
        self._node = node
        self._changed = changed
        self._running = Lock()
        self._cancelled = Event()
        self._thread: Thread | None = None
        self._began = self._notified = 0.0
        self.stage: Stage | None = None

    async def run(self, work: Callable[[Progress], T]) -> T:
        """
        Return what `work` returns; it is handed a progress callback that stops it on `cancel`.

        Raises what `work` raises, RegistrationCancelled, and InputError at once if work runs.
        """
        if not self._running.acquire(blocking=False):
            raise InputError('busy')
        try:
            self._cancelled.clear()
            self._began = monotonic()
            self.stage = Stage('starting', self._began)
            self._notify()
            done: Future = Future(executor=self._node.executor)
            self._thread = Thread(
                target=self._work, args=(work, done, self._node.executor), daemon=True)
            self._thread.start()
            result: Any = await done
            self._raise_if_cancelled()
            return result
        finally:
            self.stage = None
            self._running.release()
            self._changed()

    def cancel(self) -> bool:
        """Stop the work at its next `raise_if_cancelled` or progress; False if none runs."""
        self._cancelled.set()
        return self._running.locked()

    def join(self, timeout: float) -> bool:
        """Return whether the thread has ended within `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _work(self, work: Callable[[Progress], T], done: Future, executor: Executor) -> None:
        try:
            with cancelled_by(self._raise_if_cancelled):
                done.set_result(work(self._progress))
        except Exception as error:  # on its way to the coroutine in `run`, which raises it
            done.set_exception(error)
        # Without this the executor sleeps on: it does not see futures set by other threads.
        executor.wake()

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._raise_if_cancelled()
        before, self.stage = self.stage, Stage(stage, self._began, done, total)
        entered = before is None or before.name != stage
        if entered or monotonic() - self._notified > NOTIFY_PERIOD:
            self._notify()

    def _notify(self) -> None:
        self._notified = monotonic()
        self._changed()

    def _raise_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise RegistrationCancelled('cancelled')
