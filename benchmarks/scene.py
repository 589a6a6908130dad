# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a whole scene costs method `lmpcr`: seconds by stage and the peak memory of the process.

    mvreg benchmark scene ROOT [--scene home_md] [--out scene.md]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it. The network has the paper's size, 2048
points of each fragment and random weights: time and memory do not depend on what they are.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from benchmarks.footer import publish
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.data.clouds import read_fragments
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.device import select_device
from mvreg_ros.evaluation.protocol import peak_memory_mb
from mvreg_ros.lmpcr import Lmpcr
from mvreg_ros.methods.learned import LearnedMethod
from mvreg_ros.parameters import checked
from mvreg_ros.register import MultiviewRegistration
import torch


def main() -> None:
    """Register the scene and print the table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--scene', default='home_md')
    parser.add_argument('--out', type=Path, default=Path('scene.md'))
    args = parser.parse_args()
    torch.manual_seed(0)
    # Nothing is pruned and nothing refined: every pair goes all the way.
    values = checked({'method': 'lmpcr', 'min_confidence': 0.0, 'refine': False})
    voxel_size = float(values['voxel_size'])
    method = LearnedMethod(Lmpcr(), voxel_size, select_device('auto'))
    pipeline = MultiviewRegistration(values, method)
    (scene,) = cloud_scenes(args.root, '3dmatch', [args.scene])
    progress = ProgressReport(f'{scene.name}: ')
    fragments = read_fragments(scene.clouds, pipeline.prepare, progress)
    before = peak_memory_mb()
    result = pipeline.register(fragments, progress)
    progress.close()
    rows = [
        '| fragments | pairs | points | stage | seconds |', '|---' * 5 + '|',
        *(f'| {scene.count} | {len(result.edges)} | {method.network.config.points} | {stage} '
          f'| {seconds:.1f} |' for stage, seconds in result.seconds.items()),
        f'\npeak memory of the process {peak_memory_mb():.0f} MiB, with the fragments read '
        f'{before:.0f} MiB',
    ]
    text = '\n'.join(rows) + '\n'
    publish(text, args.out)


if __name__ == '__main__':
    main()
