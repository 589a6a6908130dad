# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Is the confidence of an edge honest? Pairs of simulated flats, and pairs across flats.

    python -m benchmarks.confidence [--flats N] [--rooms N] [--fragments N] [--out confidence.md]

Right is a pose within 15 degrees and 30 cm of the truth. Across flats nothing is right. The last
line holds the covariances against the errors: the mean of their squared Mahalanobis distance,
which is 6 where the covariances are exact.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from itertools import combinations, pairwise, product
from pathlib import Path

import gtsam
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.multiview.se3 import ROTATION_FIRST
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.pairwise.confidence import inlier_confidence
from mvreg_ros.parallel import ordered_map
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.simulate.session import simulate_session, SimulatedSession
from mvreg_ros.types import FloatArray, FragmentFeatures, PairRegistration
import numpy as np

BINS = (0, 10, 20, 30, 40, 50, 70, 100, 10**9)
MAX_ANGLE, MAX_DISTANCE = np.radians(15), 0.3


def main() -> None:
    """Simulate, register every pair, and print right and wrong by the number of inliers."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--flats', type=int, default=4)
    parser.add_argument('--rooms', type=int, default=3)
    parser.add_argument('--fragments', type=int, default=20)
    parser.add_argument('--out', type=Path, default=Path('confidence.md'))
    args = parser.parse_args()
    pipeline = MultiviewRegistration.from_pretrained()
    method = pipeline.method
    assert isinstance(method, ConsistencyMethod)
    sessions, features, distances = [], [], []
    for seed in range(100, 100 + args.flats):
        progress = ProgressReport(f'flat {seed}: ')
        session = simulate_session(seed, args.rooms, args.fragments, progress)
        progress.close()
        fragments = [pipeline.prepare(fragment) for fragment in session.fragments]
        sessions.append(session)
        features.append(pipeline.describe(fragments))
        distances += mahalanobis(pipeline, session)

    inliers, right = [], []
    for session, described in zip(sessions, features, strict=True):
        for pair in method.register_pairs(described):
            inliers.append(pair.inliers)
            right.append(is_right(pair, session.T_world_fragment))
    across = [
        pair.inliers for a, b in combinations(features, 2) for pair in cross(method, a, b)
    ]
    text = table(np.array(inliers), np.array(right), np.array(across))
    text += (
        f'\nmean squared Mahalanobis distance of {len(distances)} poses: '
        f'{np.mean(distances):.1f}, median {np.median(distances):.1f}\n'
    )
    args.out.write_text(text)
    print(text)


def cross(
    method: ConsistencyMethod, a: list[FragmentFeatures], b: list[FragmentFeatures]
) -> list[PairRegistration]:
    """Return the registrations of every fragment of one flat with every one of another."""
    return list(ordered_map(
        lambda pair: method.register_pair(0, 1, *pair), list(product(a, b)),
        method.workers,
    ))


def is_right(pair: PairRegistration, truth: FloatArray) -> bool:
    """Return whether T_i_j is near the truth (S, 4, 4) T_world_fragment."""
    expected = np.linalg.inv(truth[pair.i]) @ truth[pair.j]
    error = np.linalg.inv(expected) @ pair.T_i_j
    return bool(
        rotation_angle(error[:3, :3]) < MAX_ANGLE
        and np.linalg.norm(pair.T_i_j[:3, 3] - expected[:3, 3]) < MAX_DISTANCE
    )


def mahalanobis(pipeline: MultiviewRegistration, session: SimulatedSession) -> list[float]:
    """Return e^T C^-1 e of every pose of component 0 but its first, against the truth."""
    result = pipeline.register(session.fragments)
    first, *others = result.members(0)
    truth = np.linalg.inv(session.T_world_fragment[first]) @ session.T_world_fragment
    distances = []
    for k in others:
        error = gtsam.Pose3(truth[k]).localCoordinates(gtsam.Pose3(result.poses[k]))
        error = error[ROTATION_FIRST]
        distances.append(float(error @ np.linalg.solve(result.covariances[k], error)))
    return distances


def table(inliers: np.ndarray, right: np.ndarray, across: np.ndarray) -> str:
    """Return right and wrong by the number of inliers, as a Markdown table."""
    rows = ['| inliers | pairs of one flat | right | the curve says | pairs across flats |',
            '|---' * 5 + '|']
    for low, high in pairwise(BINS):
        here = (inliers >= low) & (inliers < high)
        share = f'{right[here].mean():.2f}' if here.any() else '-'
        curve = f'{inlier_confidence(inliers[here]).mean():.2f}' if here.any() else '-'
        label = f'{low}-{high - 1}' if high < 10**9 else f'{low} and more'
        false = int(((across >= low) & (across < high)).sum())
        rows.append(f'| {label} | {here.sum()} | {share} | {curve} | {false} of {len(across)} |')
    return '\n'.join(rows) + '\n'


if __name__ == '__main__':
    main()
