# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments fused from frames that could not be kept: nobody can send them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticStatus
from mvreg_ros.node.watchdog import Problem
from mvreg_ros.refusal import Refusal
from mvreg_ros.types import Fragment

HELD = 20  # fragments that wait at most; one more drives the first of them out
PASSING = ('disk', 'paused', 'buffer_full')  # reasons that may be gone the next time


class RetryQueue:
    """
    Holds fragments, in order, until they can be kept.

    problem: what they wait for, None where none does.
    """

    def __init__(
        self, keep: Callable[[Fragment], None], refuse: Callable[[Refusal], None]
    ) -> None:
        """
        Begin with none.

        keep: raises Refusal where a fragment cannot be kept. refuse: is told why one is lost.
        """
        self._keep, self._refuse = keep, refuse
        self._fragments: deque[Fragment] = deque()
        self.problem: Problem | None = None

    def put(self, fragment: Fragment) -> None:
        """Keep a fragment after those that wait, if that is possible."""
        self._fragments.append(fragment)
        self.retry()

    def retry(self) -> bool:
        """Keep what can be kept now; return whether something was."""
        kept, self.problem = False, None
        while self._fragments:
            try:
                self._keep(self._fragments[0])
                kept = True
            except Refusal as refusal:
                if refusal.reason in PASSING and len(self._fragments) <= HELD:
                    self.problem = Problem(
                        DiagnosticStatus.WARN,
                        f'{len(self._fragments)} fragments fused from frames wait: {refusal}')
                    break
                self._refuse(refusal)
            self._fragments.popleft()
        return kept

    def clear(self) -> None:
        """Forget what waits."""
        self._fragments.clear()
        self.problem = None
