# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Accuracy and time on real scenes, side by side with the peers in one run.

    pip install 'mvreg_ros[benchmarks]'
    mvreg benchmark accuracy ROOT [--ours SETTINGS ...] [--scenes NAME ...]
        [--out accuracy.md]

The first row is the package as it comes. SETTINGS such as features=fpfh,voxel_size=0.03 are
parameters, and make another row. ROOT is laid out as `mvreg evaluate 3dmatch` wants it. All run
with the same number of threads; set OMP_NUM_THREADS. The clouds are read before the clock starts.
The peers work on the same pairs and the same matches; Open3D's optimisation makes poses of what
each finds.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from benchmarks import open3d_multiway, peers
from benchmarks.columns import accuracy_cells, HEADINGS, markdown
from benchmarks.footer import publish
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.data.clouds import read_fragment
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.protocol import peak_memory_mb, SceneResult
from mvreg_ros.evaluation.run import RecordingRegistration
from mvreg_ros.types import Fragment, Progress, Registration
import open3d as o3d
import yaml

Results = dict[str, list[SceneResult]]
# What Open3D starts from, by the name in the table.
STARTS = {'its spanning tree': True, 'the identity': False}


def settings(text: str) -> dict[str, object]:
    """Return the parameters in NAME=VALUE,NAME=VALUE ..., values as in the yaml of the node."""
    return dict(yaml.safe_load('{' + text.replace('=', ': ') + '}'))


def peer_registrations(
    fragments: list[Fragment], progress: Progress
) -> dict[str, tuple[Registration, peers.PeerPairs]]:
    """Return the maps that Open3D makes of the pairs of each peer."""
    return {
        f'FPFH + {name}, Open3D from {start}': (
            open3d_multiway.optimize(len(fragments), pairs, tree), pairs)
        for name, pairs in peers.register_pairs(fragments, progress).items()
        for start, tree in STARTS.items()}


def main() -> None:
    """Run every method on every scene and print the table of means."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--ours', nargs='+', default=[], metavar='SETTINGS')
    parser.add_argument('--scenes', nargs='+', default=())
    parser.add_argument('--out', type=Path, default=Path('accuracy.md'))
    args = parser.parse_args()
    o3d.utility.set_verbosity_level(o3d.utility.VerbosityLevel.Error)
    ours = {'mvreg_ros': {}, **{f'mvreg_ros, {text}': settings(text) for text in args.ours}}
    results: Results = {}
    for scene in cloud_scenes(args.root, '3dmatch', args.scenes):
        fragments = [read_fragment(path, k) for k, path in enumerate(scene.clouds)]
        for name, parameters in ours.items():
            pipeline = RecordingRegistration.from_pretrained(**parameters)
            progress = ProgressReport(f'{name}, {scene.name}: ')
            result = pipeline.register(fragments, progress)
            progress.close()
            results.setdefault(name, []).append(
                SceneResult(scene, result, pipeline.pairwise, peak_memory_mb()))
        progress = ProgressReport(f'peers, {scene.name}: ')
        for name, (result, pairs) in peer_registrations(fragments, progress).items():
            results.setdefault(name, []).append(
                SceneResult(scene, result, pairs.estimates, peak_memory_mb()))
        progress.close()
    text = table(results)
    publish(text, args.out)


def table(results: Results) -> str:
    """Return the means over scenes of every method, as a Markdown table."""
    seconds = {name: sum(sum(result.registration.seconds.values()) for result in scenes)
               for name, scenes in results.items()}
    ours = next(iter(seconds.values()))
    rows = {name: [*accuracy_cells(scenes), f'{seconds[name]:.0f}', f'{seconds[name] / ours:.2f}']
            for name, scenes in results.items()}
    return markdown(('method', *HEADINGS, 'seconds', 'ratio'), rows) + (
        f'\n{len(next(iter(results.values())))} scenes\n')


if __name__ == '__main__':
    main()
