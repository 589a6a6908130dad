# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What `pairs: auto` leaves out and what that costs, beside `pairs: all`.

    mvreg benchmark selection ROOT [--scenes NAME ...] [--out selection.md]
        [parameters of mvreg evaluate]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it. The fragments are read and described before
the clock starts; seconds are those of pairs, synchronisation and refinement. The second table asks
how early the pairs that `all` has in use come if all are ordered by likeness.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
import time

from benchmarks.columns import accuracy_cells, HEADINGS, markdown
from benchmarks.described import describe_scene, DescribedScene
from benchmarks.footer import publish
from mvreg_ros.cache import MemoryCache
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.commands.options import add_parameters, parameter_values
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.protocol import SceneResult
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.pairs.match_kernel import likeness
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import Edges, FloatArray, Progress
import numpy as np

BUDGET = 0.25
FOUND = (0.9, 0.99)


def solved(
    described: DescribedScene, pipeline: MultiviewRegistration, progress: Progress
) -> tuple[Synchronization, float]:
    """Return the refined pose graph of a scene, and the seconds that it took."""
    begin = time.perf_counter()
    graph = pipeline.method.solve(
        described.features, (), float(pipeline.parameters['min_confidence']), Stopwatch(),
        progress, MemoryCache())
    graph = described.refined(graph, pipeline.voxel_size)
    return graph, time.perf_counter() - begin


def found_in(scores: FloatArray, edges: Edges) -> list[float]:
    """
    Return how early the pairs in use come where all are in the order of their scores (S, S).

    The share of them in the first `BUDGET` of all pairs, then the shares of all pairs in which
    `FOUND` of them are. NaN where no pair is in use.
    """
    i, j = np.triu_indices(len(scores), 1)
    order = np.argsort(-scores[i, j], kind='stable')
    rank = np.empty((len(scores), len(scores)), int)
    rank[i[order], j[order]] = 1 + np.arange(len(order))
    used = edges.select(edges.used)
    if not len(used):
        return [np.nan] * (1 + len(FOUND))
    ranks = np.sort(rank[used.i, used.j]) / len(order)
    return [float(np.mean(ranks <= BUDGET)),
            *(float(np.quantile(ranks, share, method='inverted_cdf')) for share in FOUND)]


def main() -> None:
    """Solve every scene with all pairs and with some, and print the tables."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--scenes', nargs='+', default=())
    parser.add_argument('--out', type=Path, default=Path('selection.md'))
    add_parameters(parser)
    args = parser.parse_args()
    pipeline = MultiviewRegistration.from_pretrained(
        **parameter_values(args) | {'method': 'consistency', 'pairs': 'auto'})
    method = pipeline.method
    assert isinstance(method, ConsistencyMethod) and method.vocabulary is not None
    vocabulary = method.vocabulary
    results: dict[str, list[SceneResult]] = {'all': [], 'auto': []}
    seconds, tried = dict.fromkeys(results, 0.0), dict.fromkeys(results, 0)
    early: dict[str, list[str]] = {}
    for scene in cloud_scenes(args.root, '3dmatch', args.scenes):
        progress = ProgressReport(f'{scene.name}: ')
        described = describe_scene(scene, pipeline, progress)
        for name, results_of in results.items():
            method.vocabulary = vocabulary if name == 'auto' else None
            graph, spent = solved(described, pipeline, progress)
            results_of.append(described.result(graph))
            seconds[name] += spent
            tried[name] += len(graph.edges)
            if name == 'all':
                alike = likeness(
                    described.features, vocabulary, method.mapper, MemoryCache())
                shares = found_in(alike, graph.edges)
                early[scene.name] = [f'{share:.3f}' for share in shares]
        progress.close()
    rows = {name: [*accuracy_cells(scenes), str(tried[name]), f'{seconds[name]:.0f}']
            for name, scenes in results.items()}
    text = '\n'.join([
        markdown(('pairs', *HEADINGS, 'tried', 'seconds'), rows),
        markdown(('scene', f'in use, found in {BUDGET:.0%} of all pairs',
                  *(f'pairs for {share:.0%}' for share in FOUND)), early),
        f'{len(early)} scenes'])
    publish(text, args.out)


if __name__ == '__main__':
    main()
