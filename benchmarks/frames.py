# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
From the frames of a depth camera to a map, on real sequences, with odometry that drifts.

    mvreg benchmark frames [ROOT] [--sequences hololens tum_fr1_rpy] [--drift 0.02] [--seed 0]
        [--out frames.md] [parameters of mvreg register, such as --voxel-size 0.05]

ROOT holds a folder for each sequence: depth/*.png (16 bits), poses.txt (4 x 4 T_world_camera, one
a line) and intrinsics.txt; by default rgbd/ in MVREG_DATA or ../shared/data. The odometry is the
given poses with an error of `--drift`: m for each m, rad for each m and each rad. Errors are held
against the given poses, after the best fit of each component: of the fragments' first cameras.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from dataclasses import replace
import os
from pathlib import Path
import time

from benchmarks.footer import footer
from matplotlib.image import imread
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.commands.options import add_parameters, parameter_values
from mvreg_ros.evaluation.absolute import absolute_errors, best_alignment
from mvreg_ros.fusion.fragment_builder import FragmentBuilder, FusionConfig
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.parameters import checked, Value
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import FloatArray, Fragment, Registration
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

REPOSITORY = Path(__file__).resolve().parent.parent
ROOT = Path(os.environ.get('MVREG_DATA', REPOSITORY.parent / 'shared' / 'data')) / 'rgbd'
SEQUENCES = ('hololens', 'tum_fr1_rpy')
PERIOD_NS = 100_000_000
HEADER = (
    '| sequence | frames | fragments | odometry in the graph | placed | largest component '
    '| rotation, deg, median, worst | position, m, median, worst | seconds |')


def read_frames(folder: Path, step: int = 1) -> Iterator[tuple[NDArray[np.float32], FloatArray]]:
    """Yield the points (N, 3) of each image in its camera's frame, and T_world_camera (4, 4)."""
    scale = 5000 if folder.name.startswith('tum') else 1000
    back = np.linalg.inv(np.loadtxt(folder / 'intrinsics.txt'))
    for k, T_world_camera in enumerate(np.loadtxt(folder / 'poses.txt').reshape(-1, 4, 4)):
        image = imread(folder / 'depth' / f'{k:06d}.png')[::step, ::step]
        depth = np.round(image * 65535) / scale
        v, u = np.nonzero(depth)
        rays = np.stack([step * u, step * v, np.ones(len(u))], 1) @ back.T
        yield (rays * depth[v, u, None]).astype(np.float32), T_world_camera


def with_drift(poses: FloatArray, drift: float, seed: int) -> FloatArray:
    """Return poses (M, 4, 4) as an odometry would give them, the first at the identity."""
    rng = np.random.default_rng(seed)
    result = [np.eye(4)]
    for step in np.linalg.inv(poses[:-1]) @ poses[1:]:
        way, turn = np.linalg.norm(step[:3, 3]), rotation_angle(step[:3, :3])
        error = np.eye(4)
        error[:3, :3] = Rotation.from_rotvec(drift * (way + turn) * rng.normal(size=3)).as_matrix()
        error[:3, 3] = drift * way * rng.normal(size=3)
        result.append(result[-1] @ step @ error)
    return np.stack(result)


def fuse(
    folder: Path, config: FusionConfig, drift: float, seed: int
) -> tuple[list[Fragment], FloatArray]:
    """Return the fragments of a sequence and T_world_fragment (S, 4, 4)."""
    truth = np.loadtxt(folder / 'poses.txt').reshape(-1, 4, 4)
    odometry = with_drift(truth, drift, seed)
    builder = FragmentBuilder(config)
    done = []
    for k, (points, _) in enumerate(read_frames(folder)):
        if builder.wants(k * PERIOD_NS, odometry[k]):
            done.append(builder.add(points, k * PERIOD_NS, 'camera', odometry[k]))
    fragments = [fragment for fragment in [*done, builder.close()] if fragment is not None]
    return fragments, truth[[fragment.stamp_ns // PERIOD_NS for fragment in fragments]]


def row(result: Registration, truth: FloatArray) -> str:
    """Return the cells of what was placed and how exactly."""
    rotations, positions = [], []
    for label in range(result.component.max(initial=-1) + 1):
        members = list(result.members(label))
        poses = result.poses[members]
        T_world_map = best_alignment(truth[members], poses)
        rotation, position = absolute_errors(truth[members], poses, T_world_map)
        rotations += rotation.tolist()
        positions += position.tolist()
    return (
        f'{result.placed.sum()} of {len(truth)} | {(result.component == 0).sum()} '
        f'| {np.median(rotations):.2f}, {max(rotations):.2f} '
        f'| {np.median(positions):.3f}, {max(positions):.3f} | {sum(result.seconds.values()):.0f}')


def rows(folder: Path, values: dict[str, Value], drift: float, seed: int) -> Iterator[str]:
    """Yield the lines of the table of a sequence."""
    config = FusionConfig.of(values)
    pipeline = MultiviewRegistration.from_pretrained(**values)
    start = time.perf_counter()
    fragments, truth = fuse(folder, config, drift, seed)
    seconds = time.perf_counter() - start
    progress = ProgressReport(f'{folder.name}: ')
    frames = len(list((folder / 'depth').iterdir()))
    bare: Sequence[Fragment] = [replace(each, T_odom_fragment=None) for each in fragments]
    for name, some in (('no', bare), ('yes', fragments)):
        result = pipeline.register(some, progress)
        progress.close()
        yield (f'| {folder.name} | {frames} in {seconds:.0f} s | {len(fragments)} | {name} '
               f'| {row(result, truth)} |')


def main() -> None:
    """Print the table of all sequences, and write it."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, nargs='?', default=ROOT)
    parser.add_argument('--sequences', nargs='+', default=SEQUENCES)
    parser.add_argument('--drift', type=float, default=0.02)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('frames.md'))
    add_parameters(parser)
    args = parser.parse_args()
    values = checked(dict(parameter_values(args)))
    lines = [HEADER, '|---' * (HEADER.count('|') - 1) + '|']
    print('\n'.join(lines))
    for name in args.sequences:
        for line in rows(args.root / name, values, args.drift, args.seed):
            lines.append(line)
            print(line, flush=True)
    lines += ['', footer()]
    print('\n'.join(lines[-2:]))
    args.out.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
