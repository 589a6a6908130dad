# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the parts of the back end are worth: the same pairwise edges, synchronised in several ways.

    python -m benchmarks.ablation ROOT [--scenes NAME ...] [--out ablation.md]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.data.clouds import read_fragment
from mvreg_ros.data.scenes import cloud_scenes, Scene
from mvreg_ros.evaluation.protocol import SceneResult, summarize
from mvreg_ros.methods.geometric import GeometricMethod
from mvreg_ros.multiview.centering import centered, restored
from mvreg_ros.multiview.graph import components
from mvreg_ros.multiview.irls import IrlsConfig
from mvreg_ros.multiview.optimization import optimize_poses
from mvreg_ros.multiview.pose_graph import PoseGraphConfig, Synchronization, synchronize
from mvreg_ros.multiview.refinement import refine_edges
from mvreg_ros.multiview.synchronization import transf_sync
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import Edges, FloatArray, Fragment, Registration
import numpy as np
import torch

TAU = 0.85


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
    'tree, 1 / (1 + (r/b)^2)': variant(irls=replace(IrlsConfig(), power=2.0)),
    'tree, 1 / (1 + (r/b)^4)': variant(),
    'the same without triplet support': variant(support_weight=0.0),
}
REFINED = {
    'the squared form, refined': 'tree, 1 / (1 + (r/b)^2)',
    'the exponent 4 as shipped, refined': 'tree, 1 / (1 + (r/b)^4)',
}


def as_result(scene: Scene, graph: Synchronization, centers: FloatArray) -> SceneResult:
    """Return a synchronisation of centred fragments in the form that the protocol scores."""
    count, placed = len(graph.component), graph.component >= 0
    poses, covariances, edges = restored(
        graph.poses, np.full((count, 6, 6), np.nan), graph.edges, centers
    )
    return SceneResult(scene, Registration(
        poses, placed, graph.component, covariances, edges,
        np.where(placed, '', 'no_link').astype(object), {},
    ), {}, 0.0)


def refined(
    fragments: list[Fragment], graph: Synchronization, voxel_size: float
) -> Synchronization:
    """Return the poses after GICP on the edges in use and the final optimisation."""
    edges = refine_edges(fragments, graph.edges, graph.poses, voxel_size)
    poses, _ = optimize_poses(graph.poses, graph.component, edges)
    return replace(graph, poses=poses, edges=edges)


def main() -> None:
    """Register the pairs of every scene once and synchronise them in every way."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--scenes', nargs='+', default=())
    parser.add_argument('--out', type=Path, default=Path('ablation.md'))
    args = parser.parse_args()
    pipeline = MultiviewRegistration.from_pretrained()
    method = GeometricMethod(pipeline.voxel_size, torch.device('cpu'))
    results: dict[str, list[SceneResult]] = {name: [] for name in (*VARIANTS, *REFINED)}
    for scene in cloud_scenes(args.root, '3dmatch', args.scenes):
        progress = ProgressReport(f'{scene.name}: ')
        given = [
            pipeline.prepare(read_fragment(path, k)) for k, path in enumerate(scene.clouds)
        ]
        fragments, centers = (list(x) for x in zip(*map(centered, given), strict=True))
        edges = Edges.of(method.register_pairs(pipeline.describe(fragments, progress), progress))
        progress.close()
        for name, synchronization in VARIANTS.items():
            graph = synchronization(scene.count, edges)
            results[name].append(as_result(scene, graph, np.stack(centers)))
        for name, variant_name in REFINED.items():
            graph = VARIANTS[variant_name](scene.count, edges)
            graph = refined(fragments, graph, pipeline.voxel_size)
            results[name].append(as_result(scene, graph, np.stack(centers)))
    rows = ['| back end | 3DMatch | 3DLoMatch | rotation < 3° | translation < 10 cm |',
            '|---' * 5 + '|']
    for name, scenes in results.items():
        high, low = (summarize(scenes, b)['mean'] for b in ('3dmatch', '3dlomatch'))
        rows.append(
            f"| {name} | {high['rr_multiview']:.3f} | {low['rr_multiview']:.3f} "
            f"| {high['rotation_deg']['ecdf']['3']:.2f} "
            f"| {high['translation_m']['ecdf']['0.1']:.2f} |"
        )
    text = '\n'.join(rows) + '\n'
    args.out.write_text(text)
    print(text)


if __name__ == '__main__':
    main()
