# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What odometry of many kinds does to the maps of simulated flats: it must help, and do no harm.

    OMP_NUM_THREADS=1 mvreg benchmark odometry [--flats N] [--first SEED] [--out odometry.md]

A pair of fragments is right if both are in one part of the map and within 15 degrees and 0.5 m of
where they belong to each other, wrong if they are in one part and farther off; shares are of all
pairs, after the final optimisation. GICP, which comes before that, is left out: it looks only at
what is linked. Of each walk every second and every third fragment is taken, so that they hardly
overlap: with all of them nothing is left for odometry to link. They are registered once without
odometry, and then each kind of it is drawn a few times.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
import time

from benchmarks.columns import markdown
from benchmarks.footer import publish
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.evaluation.all_pairs import DEGREES, METRES
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.multiview.centering import centered, shift
from mvreg_ros.multiview.odometry_evidence import looking_at
from mvreg_ros.multiview.odometry_links import with_odometry
from mvreg_ros.multiview.optimization import optimize_poses
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.multiview.surroundings import Surroundings
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.simulate import simulate_session
from mvreg_ros.types import (
    FloatArray,
    Fragment,
    FragmentFeatures,
    PairRegistration,
    Progress,
)
import numpy as np
from scipy.spatial.transform import Rotation

ROOMS, FRAGMENTS = 3, 30
EVERY = (2, 3)
DRAWS = 3  # of each kind of odometry for each flat
# Of good odometry: of a metre, and radians of a metre or of a radian, per axis.
LENGTH_DRIFT, TURN_DRIFT = 0.02, 0.02


@dataclass(frozen=True)
class Walk:
    """
    A described walk through a flat.

    fragments: centred, see `mvreg_ros.multiview.centering`; centers: (S, 3). T_world_fragment:
    (S, 4, 4) the truth. pairs: what registration finds for i < j.
    """

    fragments: Sequence[Fragment]
    centers: FloatArray
    features: Sequence[FragmentFeatures]
    T_world_fragment: FloatArray
    pairs: Sequence[PairRegistration]

    def thinned(self, every: int) -> Walk:
        """Return the walk with only every so many-th fragment."""
        count = len(self.fragments)
        return Walk(
            self.fragments[::every], self.centers[::every], self.features[::every],
            self.T_world_fragment[::every],
            [replace(pair, i=pair.i // every, j=pair.j // every) for pair in self.pairs
             if pair.i % every == pair.j % every == 0 and pair.j < count])


def walk(seed: int, pipeline: MultiviewRegistration, progress: Progress) -> Walk:
    """Simulate a flat, describe its fragments and register the pairs of all thinned walks."""
    method = pipeline.method
    assert isinstance(method, ConsistencyMethod)
    session = simulate_session(seed, ROOMS, FRAGMENTS, progress)
    given = [pipeline.prepare(fragment) for fragment in session.fragments]
    fragments, centers = zip(*map(centered, given), strict=True)
    features = pipeline.describe(fragments, progress)
    pairs = [(i, j) for i, j in combinations(range(FRAGMENTS), 2)
             if any(i % every == j % every == 0 for every in EVERY)]
    return Walk(fragments, np.stack(centers), features, session.T_world_fragment,
                method.register_pairs(features, pairs, progress))


Odometry = Callable[[np.random.Generator, FloatArray], FloatArray]


def chained(steps: FloatArray) -> FloatArray:
    """Return (S, 4, 4) poses from the motions (S - 1, 4, 4) from each to the next."""
    poses = [np.eye(4)]
    for step in steps:
        poses.append(poses[-1] @ step)
    return np.stack(poses)


def motions(poses: FloatArray) -> FloatArray:
    """Return (S - 1, 4, 4) the motions from each pose to the next."""
    return np.linalg.inv(poses[:-1]) @ poses[1:]


def drifting(rng: np.random.Generator, truth: FloatArray, times: float = 1.0) -> FloatArray:
    """Return odometry that drifts at random, so many times as much as good odometry."""
    steps = motions(truth)
    length = np.linalg.norm(steps[:, :3, 3], axis=1)
    turn = rotation_angle(steps[:, :3, :3])
    error = np.tile(np.eye(4), (len(steps), 1, 1))
    error[:, :3, :3] = Rotation.from_rotvec(
        times * TURN_DRIFT * (length + turn)[:, None] * rng.normal(size=(len(steps), 3))
    ).as_matrix()
    error[:, :3, 3] = times * LENGTH_DRIFT * length[:, None] * rng.normal(size=(len(steps), 3))
    return chained(steps @ error)


def carried(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry of a robot that is picked up and put down elsewhere, once."""
    steps = motions(drifting(rng, truth))
    steps[rng.integers(len(steps))] = np.eye(4)
    return chained(steps)


def carried_far(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry whose pose jumps once, by metres and a turn about the vertical."""
    steps = motions(drifting(rng, truth))
    jump = np.eye(4)
    jump[:3, :3] = Rotation.from_euler('y', rng.uniform(-np.pi, np.pi)).as_matrix()
    jump[[0, 2], 3] = rng.uniform(-3, 3, 2)
    steps[rng.integers(len(steps))] @= jump
    return chained(steps)


def frozen(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return odometry that never moves."""
    return np.tile(np.eye(4), (len(truth), 1, 1))


def freezing(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry that stops somewhere in the second half of the walk."""
    poses = drifting(rng, truth)
    last = int(rng.integers(len(poses) // 2, len(poses) - 1))
    poses[last:] = poses[last]
    return poses


def scaled(rng: np.random.Generator, truth: FloatArray, scale: float = 1.3) -> FloatArray:
    """Return good odometry whose metres are too short."""
    steps = motions(drifting(rng, truth))
    steps[:, :3, 3] *= scale
    return chained(steps)


def mirrored(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return good odometry that turns the wrong way."""
    steps = motions(drifting(rng, truth))
    steps[:, :3, :3] = np.swapaxes(steps[:, :3, :3], -1, -2)
    return chained(steps)


def stale(rng: np.random.Generator, truth: FloatArray) -> FloatArray:
    """Return the odometry of the same walk the other way round."""
    return drifting(rng, truth)[::-1]


KINDS: dict[str, Odometry] = {
    'drift 1x': drifting,
    'drift 3x': lambda rng, truth: drifting(rng, truth, 3),
    'drift 10x': lambda rng, truth: drifting(rng, truth, 10),
    'carried': carried, 'jump': carried_far, 'frozen': frozen, 'freezes': freezing,
    'metres x 1.3': scaled, 'turns mirrored': mirrored, 'of another walk': stale,
}


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


def tried(walk: Walk, pipeline: MultiviewRegistration, seed: int) -> FloatArray:
    """
    Return (DRAWS, len(EVERY), 1 + len(KINDS), 2) the shares right and wrong of pairs.

    The first are those without odometry.
    """
    method = pipeline.method
    assert isinstance(method, ConsistencyMethod)
    tau_p = float(pipeline.parameters['min_confidence'])
    table = np.zeros((DRAWS, len(EVERY), 1 + len(KINDS), 2))
    for number, every in enumerate(EVERY):
        some = walk.thinned(every)
        surroundings = Surroundings(some.features, method.inlier_distance)
        graph = method.synchronized(some.pairs, surroundings, tau_p)
        table[:, number, 0] = shares(some, graph)
        look = looking_at(some.features, pipeline.voxel_size)
        for draw, (k, kind) in product(range(DRAWS), enumerate(KINDS.values(), 1)):
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
    parser.add_argument('--out', type=Path, default=Path('odometry.md'))
    args = parser.parse_args()
    begin = time.perf_counter()
    pipeline = MultiviewRegistration.from_pretrained()
    results = []
    for seed in range(args.first, args.first + args.flats):
        progress = ProgressReport(f'flat {seed}: ')
        results.append(tried(walk(seed, pipeline, progress), pipeline, seed))
        progress.close()
    text = report(np.concatenate(results)) + (
        f'\n{args.flats} flats from seed {args.first} on, {ROOMS} rooms and {FRAGMENTS} fragments '
        f'each, {time.perf_counter() - begin:.0f} s\n')
    publish(text, args.out)


if __name__ == '__main__':
    main()
