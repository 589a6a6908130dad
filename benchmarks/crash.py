# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Kills the node at random moments and counts the acknowledged fragments that are lost.

    mvreg benchmark crash [--kills 50] [--seed 0]

A robot publishes over DDS; every other time the node registers meanwhile. SIGKILL comes up to a
second after the first fragment. What ~/status had counted has to be on the disk, bit for bit, and
the node that is started next has to count all that is on the disk.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass
from pathlib import Path
import sys
import tempfile
from time import monotonic

from benchmarks.footer import footer
from benchmarks.living_node import joined, living_node, PATIENCE, Robot, use_own_domain, VOXEL_SIZE
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.session.session import last_session
from mvreg_ros.session.stored import Content, read_session
import numpy as np
from numpy.typing import NDArray
from std_srvs.srv import Trigger
import torch

PERIOD = 0.02  # seconds between fragments


@dataclass
class Figures:
    """What became of the fragments; only `lost` and `changed` are faults."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    changed: int = 0
    not_yet_acknowledged: int = 0
    cut_off: int = 0


def crash(kills: int, seed: int, directory: Path) -> Figures:
    """Kill the node so many times; raises TimeoutError where it does not come back with all."""
    figures, rng = Figures(), np.random.default_rng(seed)
    sent: dict[int, NDArray[np.float32]] = {}
    content = content_of(directory)
    for kill in range(kills):
        with joined(seed) as robot:
            robot.sent = sent
            robot.create_timer(PERIOD, robot.publish_if_heard)
            figures.acknowledged = life(
                robot, directory, len(content.fragments), bool(kill % 2), rng.uniform(0, 1))
        content = content_of(directory)
        difference = len(content.fragments) - figures.acknowledged
        figures.kills += 1
        figures.lost += max(-difference, 0)
        figures.not_yet_acknowledged += max(difference, 0)
    figures.cut_off = len(content.refusals)
    for fragment in content.fragments:
        points = torch.from_numpy(sent[fragment.stamp_ns])
        expected = points[voxel_down_sample(points, VOXEL_SIZE)].numpy()
        figures.changed += not np.array_equal(fragment.points, expected)
    return figures


def life(
    robot: Robot, directory: Path, restored: int, registering: bool, seconds: float
) -> int:
    """Start a node and kill it so long after a new fragment; return what it has acknowledged."""
    with living_node(directory, robot):
        robot.until(lambda: robot.held > restored, 'all that was there and one more', PATIENCE)
        if registering:
            robot.call(Trigger, '~/register')
        robot.wait(seconds)
    robot.wait(0.2)  # for what is under way
    return robot.held


def content_of(directory: Path) -> Content:
    """Return what the last session holds on the disk."""
    folder = last_session(directory)
    return read_session(folder) if folder else Content([], [], 0)


def main() -> int:
    """Print the figures; return 0 if nothing was lost or changed."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    use_own_domain()
    begin = monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = crash(options.kills, options.seed, Path(folder))
    for name, value in vars(figures).items():
        print(f'{name.replace("_", " "):22}{value}')
    print(f'{"seconds":22}{monotonic() - begin:.0f}\n\n{footer()}')
    return 1 if figures.lost or figures.changed else 0


if __name__ == '__main__':
    sys.exit(main())
