# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The ablations of the paper for method lmpcr: each of its parts with and without, one a command.

    mvreg benchmark figures ROOT --figure {4,7,8,9,refinement} [--rounds N]
        [--scenes NAME ...] [--out figure.md] [parameters of mvreg evaluate]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it. 4: rounds of Alg. 1, and what edges are
pruned by. 7: the threshold of pruning by local confidence. 8, 9: the weights of the edges, without
pruning and with it. The pairwise columns are the pairs of the last round. What all rows share, up
to psi_iter of the first round, is computed once; later rounds cost the most, and `--rounds 1`
leaves them out.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.columns import accuracy_table
from benchmarks.described import describe_scene
from benchmarks.footer import publish
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.commands.options import add_parameters, parameter_values
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.evaluation.protocol import SceneResult
from mvreg_ros.methods.learned import LearnedMethod
from mvreg_ros.multiview.algorithm_1 import (
    Algorithm1Config,
    algorithm_1,
    Evaluate,
    Gamma,
    PairEstimate,
    Psi,
    Round,
    synchronize_parts,
    Zeta,
)
from mvreg_ros.multiview.irls import IrlsConfig
from mvreg_ros.multiview.pose_graph import judged, Synchronization
from mvreg_ros.register import MultiviewRegistration
import torch
from torch import Tensor

TAU = 0.85
# Eq. 15 is the harmonic mean for the beta of the network, and at the ends either confidence alone.
BETAS = {'local': 1e3, 'global': 0.0}


@dataclass(frozen=True)
class Variant:
    """
    Alg. 1 with a part exchanged.

    rounds: 1 is no feedback. prune: by 'local' confidence, by 'cauchy' weights or 'none'. tau:
    edges with less are pruned. weights: 'joint' (Eq. 15), 'local' or 'global' (SE3 EIG). refined:
    GICP and the final optimisation follow.
    """

    rounds: int
    prune: str = 'local'
    tau: float = TAU
    weights: str = 'joint'
    refined: bool = False


def variants(figure: str, rounds: int) -> dict[str, Variant]:
    """Return the rows of a figure of the paper; all but those of Fig. 4 have so many rounds."""
    weights = {'c_local': 'local', 'c_global (SE3 EIG)': 'global', 'harmonic mean': 'joint'}
    if figure == '4':
        return {f'rounds {count}, pruned by {prune}': Variant(count, prune)
                for count in (1, 4) for prune in ('local', 'cauchy', 'none')}
    if figure == '7':
        return {f'tau_p {tau:.2f}': Variant(rounds, tau=tau)
                for tau in (0.0, 0.2, 0.4, 0.6, 0.8, 0.85, 0.9, 0.95)}
    if figure == 'refinement':
        return {'without': Variant(rounds), 'with': Variant(rounds, refined=True)}
    prune = 'none' if figure == '8' else 'local'
    return {name: Variant(rounds, prune, weights=kind) for name, kind in weights.items()}


@dataclass(frozen=True)
class Blocks:
    """The learned parts with another beta."""

    psi_init: Psi
    psi_iter: Psi
    zeta: Zeta
    beta: Tensor


class FirstPasses:
    """Remembers psi_init and the first psi_iter, which are the same in all variants."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.known: list[PairEstimate] = []

    def around(self, evaluate: Evaluate) -> Evaluate:
        """Return an `evaluate` for one run of Alg. 1 that does not repeat what is known."""
        known: Iterator[PairEstimate] = iter(list(self.known))

        def remembered(
            function: Callable[..., PairEstimate], pairs: tuple[Tensor, ...]
        ) -> PairEstimate:
            estimate = next(known, None) or evaluate(function, pairs)
            if len(self.known) < 2:
                self.known.append(estimate)
            return estimate

        return remembered


@torch.inference_mode()
def solve(
    method: LearnedMethod, gamma: Gamma, count: int, variant: Variant, evaluate: Evaluate
) -> Synchronization:
    """Return the pose graph of a variant, before refinement."""
    network = method.network
    beta = torch.as_tensor(BETAS.get(variant.weights, network.beta))
    blocks = Blocks(network.psi_init, network.psi_iter, network.zeta, beta)
    config = Algorithm1Config(
        iterations=variant.rounds, prune=variant.tau if variant.prune == 'local' else 0.0)
    _, rounds = algorithm_1(blocks, gamma, count, config, evaluate)
    last = rounds[-1]
    poses, kept = last.poses, last.kept
    if variant.prune == 'cauchy':
        poses, kept = pruned_by_cauchy(gamma, count, last, variant.tau)
    edges = method.edges(gamma, last.pairs)
    return judged(
        edges, method.in_metres(poses), kept.cpu().numpy(), last.c.double().cpu().numpy(),
        IrlsConfig(unit=1 / method.scale), pairwise=edges)


def pruned_by_cauchy(
    gamma: Gamma, count: int, last: Round, tau: float
) -> tuple[Tensor, Tensor]:
    """Return poses from the edges with c_global from tau on, and which they are."""
    kept = last.kept & (last.c_global >= tau)
    poses, _ = synchronize_parts(count, gamma.i, gamma.j, last.pairs.T_i_j, last.c, kept)
    return poses, kept


def main() -> None:
    """Describe every scene once and run Alg. 1 in every way."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--figure', choices=('4', '7', '8', '9', 'refinement'), required=True)
    parser.add_argument('--rounds', type=int, default=4)
    parser.add_argument('--scenes', nargs='+', default=())
    parser.add_argument('--out', type=Path, default=Path('figure.md'))
    add_parameters(parser)
    args = parser.parse_args()
    pipeline = MultiviewRegistration.from_pretrained(
        **parameter_values(args) | {'method': 'lmpcr'})
    method = pipeline.method
    assert isinstance(method, LearnedMethod)
    rows = variants(args.figure, args.rounds)
    results: dict[str, list[SceneResult]] = {name: [] for name in rows}
    for scene in cloud_scenes(args.root, '3dmatch', args.scenes):
        progress = ProgressReport(f'{scene.name}: ')
        described = describe_scene(scene, pipeline, progress)
        gamma = method.correspondences(described.features, progress)
        passes = FirstPasses()
        for name, variant in rows.items():
            progress.title = f'{scene.name}, {name}: '
            evaluate = passes.around(method.in_batches(1 + variant.rounds, progress))
            graph = solve(method, gamma, scene.count, variant, evaluate)
            if variant.refined:
                graph = described.refined(graph, pipeline.voxel_size)
            results[name].append(described.result(graph))
        progress.close()
    text = accuracy_table(f'Fig. {args.figure}', results)
    publish(text, args.out)


if __name__ == '__main__':
    main()
