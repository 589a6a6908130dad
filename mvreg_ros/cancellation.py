# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Places within long steps where work that nobody waits for any more ends.

What is called between two steps of progress may take seconds for a large fragment. Its loops call
`raise_if_cancelled`, so that no callback has to be handed down to them; each thread knows who may
cancel it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import threading

THREAD = threading.local()


def never() -> None:
    """Cancel nothing."""


def check_of_thread() -> Callable[[], None]:
    """Return what the innermost `cancelled_by` of this thread was given."""
    check: Callable[[], None] = getattr(THREAD, 'check', never)
    return check


@contextmanager
def cancelled_by(check: Callable[[], None]) -> Iterator[None]:
    """Let `raise_if_cancelled` call `check` within the block, in this thread; it may raise."""
    outer = check_of_thread()
    THREAD.check = check
    try:
        yield
    finally:
        THREAD.check = outer


def raise_if_cancelled() -> None:
    """Raise RegistrationCancelled if the work that this thread is at was cancelled."""
    check_of_thread()()
