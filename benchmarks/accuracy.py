# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Accuracy and time on real scenes, side by side with Open3D's own chain in one run.

    python -m benchmarks.accuracy ROOT [--scenes NAME ...] [--out accuracy.md]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it. Both run with the same number of threads;
set OMP_NUM_THREADS. The clouds are read before the clock starts.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
import platform

from benchmarks import open3d_multiway
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.data.clouds import read_fragment
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.protocol import peak_memory_mb, SceneResult, summarize
from mvreg_ros.evaluation.run import RecordingRegistration
import numpy as np
import open3d as o3d
import torch

METHODS = ('mvreg_ros', 'Open3D, started from a spanning tree', 'Open3D')
HEADER = (
    '| method | 3DMatch pairwise | multiview | 3DLoMatch pairwise | multiview '
    '| rotation < 3° | translation < 10 cm | seconds | ratio |\n' + '|---' * 9 + '|\n'
)


def main() -> None:
    """Run every method on every scene and print the table of means."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--scenes', nargs='+', default=())
    parser.add_argument('--out', type=Path, default=Path('accuracy.md'))
    args = parser.parse_args()
    results: dict[str, list[SceneResult]] = {method: [] for method in METHODS}
    for scene in cloud_scenes(args.root, '3dmatch', args.scenes):
        fragments = [read_fragment(path, k) for k, path in enumerate(scene.clouds)]
        ours = RecordingRegistration.from_pretrained()
        progress = ProgressReport(f'mvreg_ros, {scene.name}: ')
        registration = ours.register(fragments, progress)
        progress.close()
        results[METHODS[0]].append(
            SceneResult(scene, registration, ours.pairwise, peak_memory_mb())
        )
        progress = ProgressReport(f'Open3D, {scene.name}: ')
        edges, estimates, seconds = open3d_multiway.register_pairs(fragments, progress)
        progress.close()
        for method, tree in zip(METHODS[1:], (True, False), strict=True):
            registration = open3d_multiway.optimize(len(fragments), edges, seconds, tree)
            results[method].append(
                SceneResult(scene, registration, estimates, peak_memory_mb())
            )
    text = table(results)
    args.out.write_text(text)
    print(text)


def table(results: dict[str, list[SceneResult]]) -> str:
    """Return the means over scenes of every method, as a Markdown table."""
    rows = []
    ours = np.nan
    for method, scenes in results.items():
        high = summarize(scenes, '3dmatch')['mean']
        low = summarize(scenes, '3dlomatch')['mean']
        seconds = sum(sum(result.registration.seconds.values()) for result in scenes)
        ours = seconds if method == METHODS[0] else ours
        rows.append(
            f"| {method} | {high['rr_pairwise']:.3f} | {high['rr_multiview']:.3f} "
            f"| {low['rr_pairwise']:.3f} | {low['rr_multiview']:.3f} "
            f"| {high['rotation_deg']['ecdf']['3']:.2f} "
            f"| {high['translation_m']['ecdf']['0.1']:.2f} "
            f'| {seconds:.0f} | {seconds / ours:.2f} |'
        )
    machine = (
        f'\n{len(next(iter(results.values())))} scenes, {torch.get_num_threads()} threads, '
        f'{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, '
        f'Open3D {o3d.__version__}\n'
    )
    return HEADER + '\n'.join(rows) + '\n' + machine


if __name__ == '__main__':
    main()
