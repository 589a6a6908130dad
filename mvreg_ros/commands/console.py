# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How commands talk: progress on standard error, results on standard output."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

LINE_SECONDS = 10.0


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)  # noqa: T201


class ProgressReport:
    """Shows a bar for each stage on a terminal; elsewhere a line at its end and now and then."""

    def __init__(self, title: str = '') -> None:
        """Put `title`, such as the name of a scene, before the names of stages."""
        self.title = title
        self.stage = ''
        self.begin = self.last = 0.0
        self.bar: tqdm | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of `stage` are finished."""
        if stage != self.stage:
            self.close()
            self.stage = stage
            self.begin = self.last = time.monotonic()
            if sys.stderr.isatty():
                self.bar = tqdm(total=total, desc=f'{self.title}{stage}', leave=True)
        if self.bar is not None:
            self.bar.total = total
            self.bar.update(done - self.bar.n)
        elif done == total or time.monotonic() - self.last > LINE_SECONDS:
            self.last = time.monotonic()
            print(f'{self.title}{stage} {done}/{total} '  # noqa: T201
                  f'({self.last - self.begin:.0f} s)', file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar of the last stage."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
