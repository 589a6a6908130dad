# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated session as a scene of 3DMatch and 3DLoMatch, for the evaluation to run on."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.data.logs import Pair, write_info, write_log
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.simulate.ground_truth import information, overlaps
from mvreg_ros.simulate.session import SimulatedSession
from mvreg_ros.simulate.world import FRAMES
import numpy as np

# Shares of common points, above the first and up to the second.
BENCHMARKS = {'3DMatch': (0.3, 1.0), '3DLoMatch': (0.1, 0.3)}


def write_scene(session: SimulatedSession, root: Path, name: str) -> None:
    """
    Write the fragments and the ground truth of `session` as scene `name` below `root`.

    root/fragments/NAME gets cloud_bin_K.ply and cloud_bin_K.info.txt with T_world_fragment;
    root/benchmarks/{3DMatch,3DLoMatch}/NAME get gt.log and gt.info, 3DMatch also gt_overlap.log.
    Raises InputError where a file cannot be written.
    """
    folder = root / 'fragments' / name
    folder.mkdir(parents=True, exist_ok=True)
    for k, (fragment, pose) in enumerate(
        zip(session.fragments, session.T_world_fragment, strict=True)
    ):
        write_atomic(folder / f'cloud_bin_{k}.ply', encode_ply(fragment.points))
        rows = [f'{name}\tseq-01\t{k * FRAMES}\t{(k + 1) * FRAMES - 1}']
        rows += ['\t'.join(f'{value:.10e}' for value in row) for row in pose]
        write_atomic(folder / f'cloud_bin_{k}.info.txt', '\n'.join(rows) + '\n')
    _write_truth(session, root / 'benchmarks', name)


def _write_truth(session: SimulatedSession, benchmarks: Path, name: str) -> None:
    count = len(session.fragments)
    share = overlaps(session)
    for benchmark, (above, up_to) in BENCHMARKS.items():
        folder = benchmarks / benchmark / name
        folder.mkdir(parents=True, exist_ok=True)
        pairs: list[Pair] = [
            (i, j) for i, j in combinations(range(count), 2) if above < share[i, j] <= up_to
        ]
        world = session.T_world_fragment
        poses = {(i, j): np.linalg.inv(world[i]) @ world[j] for i, j in pairs}
        write_log(folder / 'gt.log', count, poses)
        write_info(folder / 'gt.info', count, information(session, pairs))
    lines = [f'{i},{j},{share[i, j]:.4f}\n' for i, j in combinations(range(count), 2)]
    write_atomic(benchmarks / '3DMatch' / name / 'gt_overlap.log', ''.join(lines))
