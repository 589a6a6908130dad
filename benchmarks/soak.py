# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the node loses and what it leaks under load.

    mvreg benchmark soak [--fragments 200] [--rounds 100]

Fragments are published at 10 Hz while registrations run, one after the other. Then rounds of three
fragments, a registration and a reset; threads, open files and memory of the node are printed after
a tenth of the rounds, when all that is made once has been made, and after the last.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
import re
import sys
import tempfile
from time import monotonic

from benchmarks.footer import footer
from benchmarks.living_node import joined, living_node, PATIENCE, Robot, use_own_domain
from std_srvs.srv import Trigger

PERIOD = 0.1  # seconds between fragments
GROWTH_MB = 50.0  # more than allocators and DDS are seen to keep back


@dataclass
class Resources:
    """What a process has."""

    threads: int
    files: int
    memory_mb: float

    @classmethod
    def of(cls, pid: int) -> Resources:
        """Read them from /proc."""
        process = Path('/proc', str(pid))
        resident = re.search(r'VmRSS:\s+(\d+) kB', (process / 'status').read_text())
        return cls(
            len(list((process / 'task').iterdir())), len(list((process / 'fd').iterdir())),
            int(resident[1]) / 1024 if resident else 0.0)


def burst(robot: Robot, count: int) -> tuple[int, int]:
    """Publish while registrations run; return fragments that are missing, and registrations."""
    for _ in range(3):
        robot.publish()
    robot.until(lambda: robot.held == len(robot.sent), 'the first fragments', PATIENCE)
    end, registrations = len(robot.sent) + count, 0

    def publish() -> None:
        if len(robot.sent) < end:
            robot.publish()

    timer = robot.create_timer(PERIOD, publish)
    while len(robot.sent) < end:
        register(robot, lambda: len(robot.sent) == end)
        registrations += 1
    robot.destroy_timer(timer)
    with suppress(TimeoutError):
        robot.until(lambda: robot.held == end, 'the last fragment', PATIENCE)
    missing = end - robot.held
    robot.ask('~/reset')
    return missing, registrations


def register(robot: Robot, enough: Callable[[], bool]) -> None:
    """Call for a registration and wait for its end, or until it is enough."""
    answer = robot.call(Trigger, '~/register')
    robot.until(lambda: answer.done() or enough(), 'a registration', PATIENCE)


def rounds(robot: Robot, pid: int, count: int) -> tuple[Resources, Resources]:
    """Register and reset; return the resources of the node early and at the end."""
    early = Resources.of(pid)
    for done in range(count):
        robot.until(lambda: robot.held == 0 and robot.status['stage'] == 'idle', 'idle', PATIENCE)
        for _ in range(3):
            robot.publish()
        robot.until(lambda: robot.held == 3, 'three fragments', PATIENCE)
        robot.ask('~/register')
        robot.ask('~/reset')
        if done == count // 10:
            early = Resources.of(pid)
    return early, Resources.of(pid)


def main() -> int:
    """Print the figures; return 0 if nothing is lost and nothing leaks."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--fragments', type=int, default=200)
    parser.add_argument('--rounds', type=int, default=100)
    options = parser.parse_args()
    use_own_domain()
    with (
        tempfile.TemporaryDirectory() as folder, joined(seed=0) as robot,
        living_node(Path(folder), robot) as pid,
    ):
        begin = monotonic()
        missing, registrations = burst(robot, options.fragments)
        print(f'{options.fragments} fragments in {monotonic() - begin:.0f} s beside '
              f'{registrations} registrations: {missing} lost')
        early, late = rounds(robot, pid, options.rounds)
    print(f'| {options.rounds} rounds | after a tenth | at the end |')
    print('|---|---|---|')
    for name, before in vars(early).items():
        print(f'| {name} | {before:.0f} | {getattr(late, name):.0f} |')
    print(f'\n{footer()}')
    leaks = (late.threads > early.threads or late.files > early.files
             or late.memory_mb > early.memory_mb + GROWTH_MB)
    return 1 if missing or leaks else 0


if __name__ == '__main__':
    sys.exit(main())
