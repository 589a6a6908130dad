# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A whole mapping session over real ROS 2: python -m mvreg_ros.node.demo [--small] [--seed N].

A simulated robot publishes fragments of a flat, the node registers them, and what comes out is
held against the truth. The results go to demo_out/ in the working directory.
"""

from __future__ import annotations

from argparse import ArgumentParser
import os
from pathlib import Path
import random
import shutil
import signal
import sys

from mvreg_ros.commands.console import say
from mvreg_ros.evaluation.absolute import absolute_errors, best_alignment
from mvreg_ros.node.picture import draw
from mvreg_ros.node.recording import record_session, Recording, SessionFailed
import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions

OUT = Path('demo_out')
FULL = {'rooms': 4, 'fragments': 30}
SMALL = {'rooms': 1, 'fragments': 6}

# Small: the median is two voxels of the map, so that walls are one wall; the worst is what 3DMatch
# still calls registered. A wrong edge that is believed shows as metres and tens of degrees.
MEDIAN_POSITION, WORST_POSITION = 0.05, 0.2  # metres
# What turns a wall four metres away, the reach of the camera, by as much.
MEDIAN_ROTATION, WORST_ROTATION = np.rad2deg(np.array([MEDIAN_POSITION, WORST_POSITION]) / 4)


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every fragment was placed and the errors are small, 1 if not."""
    parser = ArgumentParser(prog='python -m mvreg_ros.node.demo', description=__doc__)
    parser.add_argument('--small', action='store_true', help='one room, six fragments')
    parser.add_argument('--seed', type=int, default=0, help='another flat for each number')
    options = parser.parse_args(arguments)

    # Nobody else is to hear this session, nor it anybody else.
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, 100)))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    shutil.rmtree(OUT, ignore_errors=True)
    try:
        size = SMALL if options.small else FULL
        recording = record_session(options.seed, **size, directory=OUT.absolute() / 'session')
    except (SessionFailed, TimeoutError) as error:
        say(f'the demo failed: {error}')
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return evaluate(recording)


def evaluate(recording: Recording) -> int:
    """Print the errors, draw the map, and return the exit code."""
    for file in recording.saved.iterdir():
        file.replace(OUT / file.name)
    shutil.rmtree(OUT / 'session')
    stamps = sorted(recording.poses)
    poses = np.stack([recording.poses[stamp] for stamp in stamps])
    truth = np.stack([recording.truth[stamp] for stamp in stamps])
    T_world_map = best_alignment(truth, poses)
    rotation, position = absolute_errors(truth, poses, T_world_map)
    draw(recording, T_world_map, OUT / 'map.png')

    placed, total = len(stamps), len(recording.truth)
    frames = list(recording.frames.values()).count('map')
    components = 1 + max(node['component'] for node in recording.graph['nodes'])
    kept = sum(edge['verdict'] != 'pruned' for edge in recording.graph['edges'])
    seconds = ', '.join(f'{stage} {value:.1f}' for stage, value in recording.seconds.items())
    say(f"""
  fragments placed  {placed} of {total} in map, {frames} frames in TF
  components        {components}
  edges kept        {kept} of {len(recording.graph['edges'])}
  rotation error    median {np.median(rotation):.2f}, worst {rotation.max():.2f} deg
  position error    median {100 * np.median(position):.1f}, worst {100 * position.max():.1f} cm
                    (the map laid on the truth by the best fit of all its poses)
  seconds           {seconds}

{OUT.absolute()} holds {', '.join(sorted(file.name for file in OUT.iterdir()))}
""")
    small = (
        placed == frames == total
        and np.median(rotation) <= MEDIAN_ROTATION and rotation.max() <= WORST_ROTATION
        and np.median(position) <= MEDIAN_POSITION and position.max() <= WORST_POSITION)
    say('all placed, and the errors are small' if small else
        'FAILED: fragments are missing or the errors are too large')
    return 0 if small else 1


if __name__ == '__main__':
    sys.exit(main())
