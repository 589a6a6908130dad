# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What odometry of many kinds does to the maps of flats: it must help, and do no harm.

    OMP_NUM_THREADS=1 mvreg benchmark odometry [--flats N] [--first SEED] [--out odometry.md]
    OMP_NUM_THREADS=1 mvreg benchmark odometry --real ROOT [--scenes NAME ...] [--draws N]
        [--first SEED]

Flats are simulated, or with --real those of ROOT, which is laid out as `mvreg evaluate 3dmatch`
wants it; odometry is made up in both, of the true poses. A pair of fragments is right if both are
in one part of the map and within 15 degrees and 0.5 m of where they belong to each other, wrong if
they are in one part and farther off; shares are of all pairs, after the final optimisation. GICP,
which comes before that, is left out: it looks only at what is linked. Of each walk every second
and every third fragment is taken, so that they hardly overlap: with all of them nothing is left
for odometry to link. They are registered once without odometry, and then each kind of it is drawn
a few times.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
import time

from benchmarks.columns import markdown
from benchmarks.footer import publish
from benchmarks.made_up_odometry import KINDS
from benchmarks.walks import EVERY, FRAGMENTS, recorded, ROOMS, simulated, Walk
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.all_pairs import DEGREES, METRES
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.multiview.centering import shift
from mvreg_ros.multiview.odometry_evidence import looking_at
from mvreg_ros.multiview.odometry_links import with_odometry
from mvreg_ros.multiview.optimization import optimize_poses
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.multiview.surroundings import Surroundings
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import FloatArray, Progress
import numpy as np


def shares(walk: Walk, graph: Synchronization) -> tuple[float, float]:
    """Return the shares of all pairs that are right, and wrong."""
    component = graph.component
    poses, _ = optimize_poses(graph.poses, component, graph.edges)
    i, j = np.triu_indices(len(poses), 1)
    linked = (component[i] == component[j]) & (component[i] >= 0)
    found = poses @ np.linalg.inv(shift(walk.centers))
    truth = walk.T_world_fragment
    error = np.linalg.inv(np.linalg.inv(found[i]) @ found[j]) @ np.linalg.inv(truth[i]) @ truth[j]
    close = np.linalg.norm(error[:, :3, 3], axis=1) < METRES
    close &= rotation_angle(error[:, :3, :3]) < np.radians(DEGREES)
    return float((linked & close).mean()), float((linked & ~close).mean())


def tried(walk: Walk, pipeline: MultiviewRegistration, seed: int, draws: int) -> FloatArray:
    """
    Return (draws, len(EVERY), 1 + len(KINDS), 2) the shares right and wrong of pairs.

    The first are those without odometry.
    """
    method = pipeline.method
    assert isinstance(method, ConsistencyMethod)
    tau_p = float(pipeline.parameters['min_confidence'])
    table = np.zeros((draws, len(EVERY), 1 + len(KINDS), 2))
    for number, every in enumerate(EVERY):
        some = walk.thinned(every)
        surroundings = Surroundings(some.features, method.inlier_distance)
        graph = method.synchronized(some.pairs, surroundings, tau_p)
        table[:, number, 0] = shares(some, graph)
        look = looking_at(some.features, pipeline.voxel_size)
        for draw, (k, kind) in product(range(draws), enumerate(KINDS.values(), 1)):
            T_odom = kind(np.random.default_rng([seed, draw, k]), walk.T_world_fragment)[::every]
            told = [replace(fragment, T_odom_fragment=T) for fragment, T in zip(
                some.fragments, T_odom @ shift(some.centers), strict=True)]
            table[draw, number, k] = shares(some, with_odometry(graph, told, look))
    return table


def report(results: FloatArray) -> str:
    """
    Return tables of results (runs, len(EVERY), 1 + len(KINDS), 2).

    More and less right or wrong than without odometry, in the mean and in the worst run.
    """
    texts = []
    for some, every in zip(np.moveaxis(results, 1, 0), EVERY, strict=True):
        right, wrong = np.moveaxis(some - some[:, :1], -1, 0)[..., 1:]
        rows = {name: [f'{value:+.3f}' for value in (
            right[:, k].mean(), right[:, k].min(), wrong[:, k].mean(), wrong[:, k].max())]
            for k, name in enumerate(KINDS)}
        before = some[:, 0].mean(0)
        texts.append(
            f'One of {every} fragments. Without odometry: right {before[0]:.3f}, '
            f'wrong {before[1]:.3f}.\n\n' + markdown(
                ('with odometry', 'right', 'the worst', 'wrong', 'the worst'), rows))
    return '\n'.join(texts)


def main() -> None:
    """Try all kinds of odometry in all flats and print the tables."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--flats', type=int, default=8)
    parser.add_argument('--first', type=int, default=960, metavar='SEED')
    parser.add_argument('--real', type=Path, metavar='ROOT')
    parser.add_argument('--scenes', nargs='+', default=(), metavar='NAME')
    parser.add_argument('--draws', type=int, default=3, help='of each kind, for each flat')
    parser.add_argument('--out', type=Path, default=Path('odometry.md'))
    args = parser.parse_args()
    begin = time.perf_counter()
    pipeline = MultiviewRegistration.from_pretrained()
    walks: dict[str, Callable[[Progress], Walk]]
    if args.real:
        walks = {scene.name: partial(recorded, scene, pipeline)
                 for scene in cloud_scenes(args.real, '3dmatch', args.scenes)}
        flats = f'real flats: {", ".join(walks)}'
    else:
        seeds = range(args.first, args.first + args.flats)
        walks = {f'flat {seed}': partial(simulated, seed, pipeline) for seed in seeds}
        flats = f'{args.flats} flats, {ROOMS} rooms and {FRAGMENTS} fragments each'
    results = []
    for seed, (name, walk) in enumerate(walks.items(), args.first):
        progress = ProgressReport(f'{name}: ')
        results.append(tried(walk(progress), pipeline, seed, args.draws))
        progress.close()
    text = report(np.concatenate(results)) + (
        f'\n{flats}; seeds from {args.first} on, {args.draws} draws of each kind, '
        f'{time.perf_counter() - begin:.0f} s\n')
    publish(text, args.out)


if __name__ == '__main__':
    main()
