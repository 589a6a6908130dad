# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far a registration is, and how long it will still take."""

from __future__ import annotations

from collections.abc import Callable

from mvreg_ros.node.job import Stage
from mvreg_ros.types import Registration

# The stages in their order, with what their work grows with: so many fragments.
WORK: dict[str, Callable[[int], float]] = {
    'features': lambda count: count,
    'pairs': lambda count: count * (count - 1) / 2,
    'synchronization': lambda count: count,
    'odometry': lambda count: count,
    'refinement': lambda count: count,
}
# The same with `pairs: auto`: first looks, and the pairs that are registered in all rounds.
LIKELY_PAIRS = {
    'features': WORK['features'], 'candidates': lambda count: 15 * count,
    **WORK, 'pairs': lambda count: 6 * count}
# Seconds for each piece of work, of which only the ratios matter: Hotel 3 of 3DMatch on one core.
SECONDS = {
    'features': 1.5, 'candidates': 0.03, 'pairs': 0.57, 'synchronization': 0.03,
    'odometry': 0.01, 'refinement': 0.3}


class Forecast:
    """
    Expects of a registration that its stages compare as in those that this node has done.

    What a stage found in the cache cost nothing and says nothing of the next time, so that the
    dearest of each stage counts, and no stage counts less than was measured elsewhere: the first
    registration of a session that is gone on with finds nearly all in the cache.
    """

    def __init__(self, pairs: str = 'all') -> None:
        """Expect what was measured elsewhere; pairs: the parameter."""
        self._work = LIKELY_PAIRS if pairs == 'auto' else WORK
        self._learned = dict(SECONDS)
        self._expected: dict[str, float] = {}
        self._reached = 0.0

    def begin(self, count: int) -> None:
        """Take note that so many fragments are being registered."""
        self._expected = {
            stage: self._learned[stage] * work(count) for stage, work in self._work.items()}
        self._reached = 0.0

    def learn(self, registration: Registration) -> None:
        """Take note of how long the stages have taken."""
        count = int((registration.reason != 'excluded').sum())
        for stage in self._work.keys() & registration.seconds.keys():
            self._learned[stage] = max(
                registration.seconds[stage] / self._work[stage](count), self._learned[stage])

    def progress(self, stage: Stage) -> float:
        """Return which part of the registration is done, from 0 to 1; it never falls."""
        if stage.name in self._expected:
            stages = list(self._expected)
            done = sum(self._expected[name] for name in stages[:stages.index(stage.name)])
            done += self._expected[stage.name] * stage.done / stage.total
            self._reached = max(self._reached, done / sum(self._expected.values()))
        return self._reached

    def eta(self, stage: Stage, now: float) -> float | None:
        """Return the seconds to the end at the pace so far, None before the first step."""
        progress = self.progress(stage)
        return (now - stage.began) * (1 - progress) / progress if progress else None

    def told(self, stage: Stage, now: float) -> dict[str, str]:
        """Return what `~/status` says of it."""
        eta = self.eta(stage, now)
        return {
            'stage': stage.name, 'progress': f'{self.progress(stage):.3f}',
            'eta': '' if eta is None else f'{eta:.1f}'}
