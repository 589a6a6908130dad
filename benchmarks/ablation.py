# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the parts of the back end are worth: the same matches, made one map in several ways.

    mvreg benchmark ablation ROOT [--scenes NAME ...] [--out ablation.md]
        [parameters of mvreg evaluate]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it. The edges are those of method consistency.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.columns import accuracy_table
from benchmarks.described import describe_scene
from benchmarks.footer import publish
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.commands.options import add_parameters, parameter_values
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.protocol import SceneResult
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.multiview.graph import components
from mvreg_ros.multiview.irls import IrlsConfig
from mvreg_ros.multiview.pose_graph import PoseGraphConfig, Synchronization, synchronize
from mvreg_ros.multiview.synchronization import transf_sync
from mvreg_ros.pairs.selection import EachWithEach
from mvreg_ros.pairwise.evidence import counted
from mvreg_ros.parameters import defaults
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import Edges
import torch

TAU = float(defaults()['min_confidence'])


def spectral(count: int, edges: Edges, weighted: bool) -> Synchronization:
    """Return Eq. 28-34 on all edges at once: no start, no reweighting, no pruning."""
    i, j, T_i_j, confidence = map(
        torch.from_numpy, (edges.i, edges.j, edges.T_i_j, edges.confidence))
    c = confidence.clamp(min=1e-6) if weighted else torch.ones_like(confidence)
    poses = transf_sync(count, i, j, T_i_j, c).numpy()
    return Synchronization(poses, components(count, edges.i, edges.j), edges, edges)


def variant(**config: object) -> Callable[[int, Edges], Synchronization]:
    """Return the shipped synchronisation with another configuration."""
    return lambda count, edges: synchronize(
        count, edges, TAU, replace(PoseGraphConfig(), **config)  # type: ignore[arg-type]
    )


VARIANTS: dict[str, Callable[[int, Edges], Synchronization]] = {
    'all edges, no weights (Eq. 28-34)': lambda n, e: spectral(n, e, False),
    'all edges, weights c_local': lambda n, e: spectral(n, e, True),
    'spanning tree alone': variant(irls=replace(IrlsConfig(), iterations=0)),
    'tree, 1 / (1 + r/b) (Eq. 14)': variant(irls=replace(IrlsConfig(), power=1.0)),
    'tree, 1 / (1 + (r/b)^2)': variant(),
    'the same, b = 0.15': variant(irls=replace(IrlsConfig(), scale=0.15, inlier=2.0)),
    'tree, 1 / (1 + (r/b)^4)': variant(irls=replace(IrlsConfig(), power=4.0)),
    'tree, 1 / (1 + (r/b)^2), without triplet support': variant(support_weight=0.0),
}
# Edges with the confidence that nothing is learned for.
COUNTED = 'tree, 1 / (1 + (r/b)^2), inliers counted'
REFINED = {
    'the squared form as shipped, refined': 'tree, 1 / (1 + (r/b)^2)',
    'the same with inliers counted, refined': COUNTED,
    'the exponent 4, refined': 'tree, 1 / (1 + (r/b)^4)',
}


def main() -> None:
    """Register the pairs of every scene once and synchronise them in every way."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--scenes', nargs='+', default=())
    parser.add_argument('--out', type=Path, default=Path('ablation.md'))
    add_parameters(parser)
    args = parser.parse_args()
    pipeline = MultiviewRegistration.from_pretrained(
        **parameter_values(args) | {'method': 'consistency'})
    method = pipeline.method
    assert isinstance(method, ConsistencyMethod)
    results: dict[str, list[SceneResult]] = {
        name: [] for name in (*VARIANTS, COUNTED, *REFINED)}
    learned = method.register_pair
    for scene in cloud_scenes(args.root, '3dmatch', args.scenes):
        progress = ProgressReport(f'{scene.name}: ')
        described = describe_scene(scene, pipeline, progress)
        pairs = EachWithEach(scene.count).first()
        method.register_pair = replace(learned, zeta=counted)
        plain = Edges.of(method.register_pairs(described.features, pairs, progress))
        method.register_pair = learned
        edges = Edges.of(method.register_pairs(described.features, pairs, progress))
        progress.close()
        graphs = {name: solve(scene.count, edges) for name, solve in VARIANTS.items()}
        graphs[COUNTED] = variant()(scene.count, plain)
        graphs |= {name: described.refined(graphs[of], pipeline.voxel_size)
                   for name, of in REFINED.items()}
        for name, graph in graphs.items():
            results[name].append(described.result(graph))
    text = accuracy_table('back end', results)
    publish(text, args.out)


if __name__ == '__main__':
    main()
