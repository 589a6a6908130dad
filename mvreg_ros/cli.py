# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The command line: `mvreg ...`.

Here is only what is understood; what is done stands in `mvreg_ros.commands` and is imported when a
command is chosen, so that help comes at once.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter, REMAINDER
from collections.abc import Sequence
from importlib import import_module
import os
from pathlib import Path
import signal
import sys
from types import FrameType
from typing import NoReturn

from mvreg_ros import __version__
from mvreg_ros.commands.options import add_parameters
from mvreg_ros.types import InputError

EXAMPLES = """
examples:
  mvreg register scans/ --out result
  mvreg register a.ply b.ply c.pcd --voxel-size 0.05 --out result
  mvreg register rosbag2_2026_05_01 --topic /robot/fragments --out result
  mvreg register ~/.ros/mvreg/session_0001 --out result
  mvreg evaluate 3dmatch data/3dmatch --scenes hotel3 --out evaluation
  mvreg simulate --out rooms --scenes 2 --seed 7
  mvreg train features --config config/training/features_fcgf_cpu.yaml
  mvreg weights convert pairwise_reg.pt --out lmpcr.safetensors
  mvreg benchmark sparse data/3dmatch
  mvreg doctor
"""
REGISTER = """
Register point clouds that overlap, each in a frame of its own, into one map.

INPUT is a .ply or .pcd file, a folder of them (in the natural order of names), or a scene of
3DMatch. Or INPUT is one rosbag2, by its folder or its .mcap or .db3 file: the PointCloud2 messages
of a topic are taken, and refused, as the node does it; no ROS is needed. Or it is the folder of
one session of the node, such as ~/.ros/mvreg/session_0001. Units are metres.
DIR gets poses.tum, graph.g2o, graph.json (Open3D PoseGraph), map.ply, fragments.csv, config.yaml
and report.html.
"""
EVALUATE = """
Score the registration of known scenes by the protocols of 3DMatch, 3DLoMatch, Redwood and ScanNet.

ROOT holds fragments/SCENE/cloud_bin_K.ply and, in benchmarks/3DMatch, benchmarks/3DLoMatch or
benchmarks/Redwood, SCENE/gt.log and gt.info. Scenes that are in several of these benchmarks are
registered once and scored on each.
scannet takes what ScanNet's reader of .sens files writes, SCENE/depth/K.png, SCENE/pose/K.txt and
SCENE/intrinsic/intrinsic_depth.txt: the first 30 depth images of a scene, 20 frames apart.
sync takes recorded pairwise estimates in place of clouds: ROOT holds pose_graphs/SCENE/*.log
beside benchmarks/, or SCENE-evaluation/*.log (Redwood), or *.npz (ScanNet).
DIR gets metrics.json, report.html, edges/SCENE.log, multiview/SCENE.log and plots.
"""
TRAIN = """
Train a stage of the networks, as docs/training.md tells.

FILE is a YAML file such as those in config/training. DIR gets weights.safetensors, the best so
far, losses.csv, validation.csv, tensorboard/ and checkpoint.pt, from which the same command goes
on after it was stopped, in whatever way. Several GPUs: torchrun -m mvreg_ros.cli train ...
"""
SIMULATE = """
Simulate walks with a depth camera through furnished flats, with ground truth.

Each scene is a flat, in the layout of 3DMatch, and SCENE.png shows it: fragments from above,
images with the errors of the sensor. A seed is a flat: with the same options it gives the same
scene, and no two seeds share a room. That is how rooms are held out: seeds 900 to 999 are for
validation, from 1000 on for training.
A bag has /fragments, odometry on /tf (odom -> camera) and /ground_truth; docs/bags.md tells how to
play it.
"""
BENCHMARK = """
Measure a table of README and docs anew; without NAME, list them. docs/benchmarks.md tells more.

The benchmarks are in a clone of the repository, not in what pip installs. Each table ends with the
machine, the versions and the commit that it was measured with.
"""
WEIGHTS = """
Look into published checkpoints, and make files of weights of them. No code in them is run.

FILE is a .pth or .pt file of FCGF or of the authors of the paper, or a .safetensors file that
convert made. convert puts the parts of all its files into one.
"""


class Parser(ArgumentParser):
    """A parser whose errors are one line, as all our errors are."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError in place of printing the usage."""
        raise InputError(f'{message}; see {self.prog} --help')


def build_parser() -> ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog='mvreg', description='Multiview registration of point clouds.', epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='version', version=f'mvreg_ros {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    def add(name: str, summary: str, description: str = '') -> ArgumentParser:
        return commands.add_parser(
            name, help=summary, description=description or summary, allow_abbrev=False,
            formatter_class=RawDescriptionHelpFormatter)

    register = add('register', 'register point clouds into one map', REGISTER)
    register.add_argument('inputs', nargs='+', metavar='INPUT', type=Path)
    register.add_argument('--topic', default='', metavar='NAME',
                          help='of a bag; default: the only one with point clouds, or the only '
                               'one called fragments')
    register.add_argument('--exclude', default='', metavar='IDS',
                          help='fragments to leave out, counted from 0, such as "3 7 12-15"')
    _add_out(register)
    _add_ray(register)
    add_parameters(register)

    evaluate = add('evaluate', 'score the registration of known scenes', EVALUATE)
    evaluate.add_argument(
        'benchmark', choices=('3dmatch', '3dlomatch', 'redwood', 'scannet', 'sync'))
    evaluate.add_argument('root', metavar='ROOT', type=Path)
    evaluate.add_argument('--scenes', nargs='+', default=[], metavar='WORD',
                          help='only scenes whose names contain one of these words')
    _add_out(evaluate)
    _add_ray(evaluate)
    add_parameters(evaluate)

    simulate = add('simulate', 'simulated scenes in the layout of 3DMatch', SIMULATE)
    simulate.add_argument('--scenes', type=int, default=1, metavar='N', help='default: 1')
    simulate.add_argument('--seed', type=int, default=0, metavar='S',
                          help='scene k has seed S + k; default: 0')
    simulate.add_argument('--rooms', type=int, default=4, metavar='N', help='default: 4')
    simulate.add_argument('--fragments', type=int, default=30, metavar='N', help='default: 30')
    simulate.add_argument('--bag', action='store_true',
                          help='a rosbag2 of each scene in place of the layout of 3DMatch')
    simulate.add_argument('--jobs', type=int, default=1, metavar='N',
                          help='scenes simulated at the same time; default: 1')
    _add_out(simulate)

    train = add('train', 'train a stage of the networks', TRAIN)
    train.add_argument('stage', choices=('features', 'registration', 'multiview'))
    train.add_argument('--config', required=True, type=Path, metavar='FILE')
    train.add_argument('--out', type=Path, metavar='DIR',
                       help='a new folder, or that of a training to go on with; '
                            'default: runs/ and the name of FILE')

    weights = add('weights', 'look into checkpoints and convert them', WEIGHTS)
    actions = weights.add_subparsers(dest='action', required=True, metavar='ACTION')
    info = actions.add_parser('info', help='what a checkpoint holds', allow_abbrev=False)
    info.add_argument('file', metavar='FILE', type=Path)
    convert = actions.add_parser(
        'convert', help='one file of weights out of checkpoints', allow_abbrev=False)
    convert.add_argument('files', nargs='+', metavar='FILE', type=Path)
    convert.add_argument('--out', required=True, type=Path, metavar='FILE',
                         help='a new .safetensors file')

    benchmark = add('benchmark', 'measure a table of README and docs', BENCHMARK)
    benchmark.add_argument('name', nargs='?', default='', metavar='NAME')
    benchmark.add_argument('arguments', nargs=REMAINDER, metavar='...', help='those of the table')

    add('doctor', 'what is installed, what is missing and how to get it')
    return parser


def _add_out(parser: ArgumentParser) -> None:
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='a new folder')


def _add_ray(parser: ArgumentParser) -> None:
    parser.add_argument('--ray', default='', metavar='ADDRESS',
                        help='work on a Ray cluster, see docs/cluster.md: HOST:PORT, auto for the '
                             'one that runs here, local to start one; default: threads')


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command in the main thread and return its exit code.

    0, 2 for input that cannot be used, 130 when interrupted, 143 when terminated (SIGTERM).
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        args = build_parser().parse_args(arguments)
        code = 0
        if args.command == 'doctor':
            code = import_module('mvreg_ros.doctor').main()
        else:
            import_module(f'mvreg_ros.commands.{args.command}').run(args)
        sys.stdout.flush()
        return code
    except InputError as error:
        print(f'mvreg: error: {error}', file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; Python would flush into the pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interrupt:
        left = str(interrupt) or 'nothing was written'
        print(f'mvreg: interrupted, {left}', file=sys.stderr)  # noqa: T201
        return 143 if isinstance(interrupt, _Terminated) else 130
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: what is half written goes, as at an interrupt."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


if __name__ == '__main__':
    sys.exit(main())
