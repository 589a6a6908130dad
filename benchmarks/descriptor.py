# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How many matches a descriptor gets right, and how long it takes, one descriptor beside another.

    OMP_NUM_THREADS=1 mvreg benchmark descriptor ROOT [--features cylinder fpfh] [--weights F]
        [--voxel-size M]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it. A mutual match is right within 10 cm of the
true pose; every pair in the lists of 3DMatch and of 3DLoMatch counts the same. FMR is the share of
pairs with more than 5 % right. All mutual matches are counted, and then those that the pipeline
uses, with the similarity that the weights ask for; where keypoints are described with those around
them too, all matches of that follow. The time is that of the processor.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
import time

from benchmarks.footer import footer
from mvreg_ros import MultiviewRegistration
from mvreg_ros.data.clouds import read_fragment
from mvreg_ros.data.scenes import cloud_scenes, Scene
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.pairwise.matching import in_context, match
from mvreg_ros.types import Correspondences, Fragment, FragmentFeatures
import numpy as np

BENCHMARKS = {'3dmatch': '3DMatch', '3dlomatch': '3DLoMatch'}
RIGHT = 0.1  # metres
Match = Callable[[int, int, FragmentFeatures, FragmentFeatures], Correspondences]
MATCHED = 0.05  # share of right matches from which on a pair counts as matched


def described(
    descriptor: Descriptor, fragments: list[Fragment]
) -> tuple[list[FragmentFeatures], float]:
    """Return the features of the fragments and the seconds of the processor for each."""
    begin = time.process_time()
    features = [descriptor(fragment) for fragment in fragments]
    return features, (time.process_time() - begin) / len(fragments)


def match_in_context(
    i: int, j: int, features_i: FragmentFeatures, features_j: FragmentFeatures
) -> Correspondences:
    """Return the mutual matches of keypoints described with those around them."""
    return match(i, j, in_context(features_i), in_context(features_j))


def right_shares(
    scene: Scene, benchmark: str, features: list[FragmentFeatures], matches: Match
) -> list[float]:
    """Return the share of right mutual matches for each pair of the list."""
    rows = []
    truth = scene.truth[benchmark].T_i_j if benchmark in scene.truth else {}
    for (i, j), T_i_j in truth.items():
        pair = matches(i, j, features[i], features[j])
        there = pair.points_j.numpy() @ T_i_j[:3, :3].T + T_i_j[:3, 3]
        right = np.linalg.norm(there - pair.points_i.numpy(), axis=1) < RIGHT
        rows.append(float(right.mean()) if len(right) else 0.0)
    return rows


def main() -> None:
    """Print a row of the table for each descriptor."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--features', nargs='+', default=['cylinder', 'fpfh'])
    parser.add_argument('--weights', default='', help='default: those of the package')
    parser.add_argument('--voxel-size', type=float, default=0.025, metavar='M',
                        help='metres, what the weights were trained with; default: 0.025')
    parser.add_argument('--scenes', nargs='+', default=[], metavar='WORD')
    args = parser.parse_args()
    scenes = cloud_scenes(args.root, '3dmatch', args.scenes)
    print('| descriptor | 3DMatch right | FMR | 3DLoMatch right | FMR | keypoints | s |')
    print('|---' * 7 + '|')
    for name in args.features:
        registration = MultiviewRegistration.from_pretrained(
            features=name, weights=args.weights, voxel_size=args.voxel_size)
        method = registration.method
        assert isinstance(method, ConsistencyMethod)
        register = method.register_pair
        kinds: dict[str, Match] = {
            f'{name}, all': match,
            f'{name}, used': partial(
                match, min_similarity=register.min_similarity, least=register.least_matches)}
        rows: dict[tuple[str, str], list[float]] = {}
        seconds, keypoints = [], []
        for scene in scenes:
            fragments = [registration.prepare(read_fragment(path, k))
                         for k, path in enumerate(scene.clouds)]
            features, each = described(method.descriptor, fragments)
            seconds.append(each)
            if features[0].context is not None:
                kinds[f'{name}, with those around'] = match_in_context
            keypoints += [len(feature.points) for feature in features]
            for kind, benchmark in product(kinds, BENCHMARKS):
                rows.setdefault((kind, benchmark), []).extend(
                    right_shares(scene, benchmark, features, kinds[kind]))
        for kind in kinds:
            cells = []
            for benchmark in BENCHMARKS:
                share = np.array(rows[kind, benchmark])
                cells += [f'{share.mean():.3f}', f'{(share > MATCHED).mean():.3f}']
            print(f"| {kind} | {' | '.join(cells)} | {np.mean(keypoints):.0f} "
                  f'| {np.mean(seconds):.2f} |', flush=True)
    print(f'\n{footer()}')


if __name__ == '__main__':
    main()
