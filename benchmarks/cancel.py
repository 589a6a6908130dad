# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How soon a node that registers does what it is told.

    mvreg benchmark cancel [--rounds 3] [--voxel-size 0.025]

A real node over DDS registers a simulated flat. At a random moment of each stage it is asked to
register again, is cancelled, or is sent a signal twice. Prints the worst seconds of all rounds.
Large fragments are the hard case: --voxel-size 0.01 makes them six times as large.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from contextlib import closing
import os
import random
import signal
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from benchmarks.columns import markdown
from benchmarks.footer import footer
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.node.clouds import cloud_from_points
from mvreg_ros.node.consumer import Consumer
from mvreg_ros.node.interface import INPUT
from mvreg_ros.node.stamps import stamp_from_nanoseconds
from mvreg_ros.simulate import simulate_session
from mvreg_ros.types import Fragment
import rclpy
from std_msgs.msg import Header
from std_srvs.srv import Trigger

STAGES = ('features', 'pairs', 'synchronization', 'refinement')
HEADINGS = ('stage', 'busy', 'answer of ~/cancel', 'end of the job', 'SIGINT', 'SIGTERM')
PATIENCE = 600.0


class Trial:
    """A node at work on fragments, and the seconds that it takes to do what it is told."""

    def __init__(self, fragments: Sequence[Fragment], stage: str, options: Namespace) -> None:
        """Start a node, give it the fragments and wait for a random moment of a stage."""
        self._folder = TemporaryDirectory()
        self.process = subprocess.Popen([
            sys.executable, '-m', 'mvreg_ros.node.registration_node', '--ros-args',
            '--log-level', 'error', '-p', f'session.directory:={self._folder.name}',
            '-p', f'voxel_size:={options.voxel_size}'], start_new_session=True)
        self.consumer = Consumer()
        publisher = self.consumer.create_publisher(INPUT.type, INPUT.name, INPUT.qos)
        self.until(
            lambda: bool(self.consumer.status) and publisher.get_subscription_count() > 0)
        for fragment in fragments:
            stamp = stamp_from_nanoseconds(fragment.stamp_ns)
            publisher.publish(cloud_from_points(
                Header(stamp=stamp, frame_id=fragment.frame_id), fragment.points))
        self.until(lambda: self.consumer.status['fragments'] == str(len(fragments)))
        self.answer = self.consumer.call(Trigger, '~/register')
        self.until(lambda: self.answer.done() or self.consumer.status['stage'] == stage)
        sleep(random.uniform(0, options.wait))

    def until(self, condition: Callable[[], bool]) -> float:
        """Return the seconds until the condition holds."""
        begin = monotonic()
        self.consumer.until(condition, 'what the node is told', PATIENCE)
        return monotonic() - begin

    def cancel(self) -> dict[str, float]:
        """Ask for a second registration, then cancel the first."""
        busy = self.consumer.call(Trigger, '~/register')
        seconds = {'busy': self.until(busy.done)}
        begin = monotonic()
        cancelled = self.consumer.call(Trigger, '~/cancel')
        seconds['answer of ~/cancel'] = self.until(cancelled.done)
        self.until(self.answer.done)
        return seconds | {'end of the job': monotonic() - begin}

    def interrupt(self, number: signal.Signals) -> dict[str, float]:
        """Send a signal twice, as launch does."""
        begin = monotonic()
        self.process.send_signal(number)
        sleep(0.05)
        self.process.send_signal(number)
        code = self.process.wait()
        if code:
            raise SystemExit(f'{number.name} ended the node with exit code {code}')
        return {number.name: monotonic() - begin}

    def close(self) -> None:
        """End the node."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()
        self.consumer.destroy_node()
        self._folder.cleanup()


def main() -> None:
    """Print a row for each stage."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--rooms', type=int, default=1)
    parser.add_argument('--fragments', type=int, default=8)
    parser.add_argument('--voxel-size', type=float, default=0.025)
    parser.add_argument('--wait', type=float, default=1.0, help='longest into a stage, seconds')
    options = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, 100)))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    rclpy.init()
    random.seed(0)
    report = ProgressReport()
    fragments = simulate_session(0, options.rooms, options.fragments, report).fragments
    worst: dict[str, dict[str, float]] = {stage: {} for stage in STAGES}
    orders: tuple[Callable[[Trial], dict[str, float]], ...] = (
        Trial.cancel,
        lambda trial: trial.interrupt(signal.SIGINT),
        lambda trial: trial.interrupt(signal.SIGTERM),
    )
    for _ in range(options.rounds):
        for stage in STAGES:
            for order in orders:
                with closing(Trial(fragments, stage, options)) as trial:
                    missed = trial.answer.done()  # a short stage may be over already
                    for name, seconds in ({} if missed else order(trial)).items():
                        worst[stage][name] = max(seconds, worst[stage].get(name, 0.0))
                        print(f'{stage}: {name} {seconds:.2f} s', flush=True)
    report.close()
    sizes = [len(fragment.points) for fragment in fragments]
    print(f'\n{len(fragments)} fragments of {min(sizes)} to {max(sizes)} points, voxels of '
          f'{options.voxel_size:g} m, {options.rounds} rounds, worst seconds\n')
    print(markdown(HEADINGS, {
        stage: [f'{seconds[name]:.2f}' if name in seconds else '-' for name in HEADINGS[1:]]
        for stage, seconds in worst.items()}))
    print(footer())


if __name__ == '__main__':
    main()
