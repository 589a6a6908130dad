# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What `pairs: auto` costs as a session grows: simulated buildings of 50 to 1,000 fragments.

    mvreg benchmark growth FOLDER [--sizes N ...] [--more 10] [--out growth.md]

FOLDER keeps the buildings, 7.5 fragments a room, from one run to the next. Each is registered by
a process of its own, with the cache of a session on disk: first all but the last `more` fragments,
whose seconds are from the fragments in memory to the map, then all, which has nothing to do but
what is new. Memory is what the process holds at most beyond the libraries. The last columns are of
the map of all: the share of fragments that are within 15 degrees and 0.5 m as seen from the one
before, the same of all pairs within the parts, and of all pairs.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
import time

from benchmarks.columns import markdown
from benchmarks.footer import publish
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.commands.simulate import simulate_scene
from mvreg_ros.data.clouds import read_fragments
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.protocol import peak_memory_mb, SceneResult, summarize_maps
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.session.cache import SessionCache
from mvreg_ros.types import Registration
import numpy as np
import torch

FRAGMENTS_PER_ROOM = 7.5
# The seeds of the buildings by the number of their fragments: no room is in two of them.
SEEDS = {50: 950, 100: 951, 200: 952, 500: 953, 1000: 954}


@dataclass(frozen=True)
class Growth:
    """What `count` fragments of a building took, then some more, and what the map is worth."""

    count: int
    seconds: dict[str, float]
    seconds_more: float
    memory_mb: float
    pairs: int
    parts: list[int]
    right: float
    within: float
    neighbors: float


def building(folder: Path, count: int) -> Path:
    """Return the folder of a building, simulated if it is not there yet."""
    root = folder / f'building_{count}'
    if not root.exists():
        progress = ProgressReport(f'building of {count}: ')
        simulate_scene(root, SEEDS[count], round(count / FRAGMENTS_PER_ROOM), count,
                       progress=progress)
        progress.close()
    return root


def measured(root: Path, more: int) -> Growth:
    """Register the building below `root` but for the last `more` fragments, then all."""
    (scene,) = cloud_scenes(root, '3dmatch')
    progress = ProgressReport(f'{scene.count} fragments: ')
    pipeline = MultiviewRegistration.from_pretrained(pairs='auto')
    before = peak_memory_mb()
    fragments = read_fragments(scene.clouds, pipeline.prepare, progress, scene.read)
    with TemporaryDirectory() as session, closing(
        SessionCache(Path(session), torch.device('cpu'))
    ) as pipeline.cache:
        first = pipeline.register(fragments[:-more], progress)
        begin = time.perf_counter()
        result = pipeline.register(fragments, progress)
        seconds_more = time.perf_counter() - begin
    progress.close()
    maps = summarize_maps([SceneResult(scene, result, {}, 0.0)])['mean']
    return Growth(
        len(fragments) - more, first.seconds, seconds_more, peak_memory_mb() - before,
        len(first.edges), np.bincount(result.component[result.placed]).tolist(),
        maps['all_pairs'], maps['within_component'],
        neighbors_right(result, np.array(scene.T_world_fragment)))


def neighbors_right(result: Registration, truth: np.ndarray) -> float:
    """Return the share of fragments within 15 degrees and 0.5 m as seen from the one before."""
    found = np.linalg.inv(result.poses[:-1]) @ result.poses[1:]
    error = np.linalg.inv(found) @ np.linalg.inv(truth[:-1]) @ truth[1:]
    trace = np.trace(error[:, :3, :3], axis1=1, axis2=2)
    right = np.arccos(np.clip((trace - 1) / 2, -1, 1)) < np.radians(15)
    right &= np.linalg.norm(error[:, :3, 3], axis=1) < 0.5
    right &= result.component[:-1] == result.component[1:]
    return float(right.mean())


def main() -> None:
    """Register the buildings and print the table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--sizes', type=int, nargs='+', default=list(SEEDS), choices=SEEDS)
    parser.add_argument('--more', type=int, default=10)
    parser.add_argument('--out', type=Path, default=Path('growth.md'))
    args = parser.parse_args()
    if not 0 < args.more < min(args.sizes) - 1:
        parser.error('--more must leave two fragments of the smallest size')
    rows = {}
    for count in args.sizes:
        root = building(args.folder, count)
        # The peak memory is that of a process.
        with get_context('spawn').Pool(1) as pool:
            found = pool.apply(measured, (root, args.more))
        total = sum(found.seconds.values())
        rows[str(count)] = [
            f'{total:.0f}', f'{total / found.count:.2f}',
            *(f'{found.seconds[stage]:.1f}' for stage in (
                'features', 'pairs', 'synchronization', 'refinement')),
            f'{found.memory_mb / count:.1f}', f'{found.pairs / found.count:.1f}',
            f'{found.seconds_more:.1f}', f'{found.seconds_more / total:.1%}',
            ' + '.join(map(str, found.parts[:4])) + (' ...' if len(found.parts) > 4 else ''),
            f'{found.neighbors:.3f}', f'{found.within:.3f}', f'{found.right:.3f}']
    publish(markdown((
        'fragments', 'seconds', 'a fragment', 'features', 'pairs', 'synchronization',
        'refinement', 'MiB a fragment', 'pairs a fragment', f'{args.more} more, seconds', 'share',
        'parts', 'neighbours right', 'within parts', 'all pairs'), rows), args.out)


if __name__ == '__main__':
    main()
