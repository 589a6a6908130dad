# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the learned registration of a pair costs, and which part of it: random weights, one thread.

    mvreg benchmark pairs [--points N ...] [--rounds N] [--batch N] [--out pairs.md]

A pair is what Alg. 1 does before its first round: correspondences, psi_init and a pose, psi_iter
and a pose. Times are of the processor, the best of the rounds, without gradients. Memory is what a
batch of pairs adds to a process that has the networks loaded.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
import time

from benchmarks.footer import publish
from mvreg_ros.evaluation.protocol import peak_memory_mb
from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
from mvreg_ros.pairwise.registration_block import correspondence_weights, RegistrationBlock
from mvreg_ros.pairwise.soft_matching import SoftNearestNeighbors
import torch
from torch import nn, Tensor

CHANNELS = 32


class Pair(nn.Module):
    """The parts of a pair's registration, timed."""

    def __init__(self) -> None:
        """Build the published networks with random weights."""
        super().__init__()
        torch.manual_seed(0)
        self.matching = SoftNearestNeighbors()
        self.psi_init = RegistrationBlock(6)
        self.psi_iter = RegistrationBlock(8)
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the processor time of the block to a part."""
        begin = time.process_time()
        yield
        spent = 1e3 * (time.process_time() - begin)
        self.milliseconds[name] = self.milliseconds.get(name, 0) + spent

    def forward(self, features: Tensor, points: Tensor) -> Tensor:
        """
        Return T_i_j (B, 4, 4) of pairs.

        features: (2, B, N, C); points: (2, B, N, 3), of fragments i and of fragments j.
        """
        (f_i, f_j), (p_i, p_j) = features, points
        with self.part('softNN (Eq. 9)'):
            phi = torch.stack([self.matching(*rows) for rows in zip(f_i, f_j, p_j, strict=True)])
        mask = torch.ones_like(phi[..., 0], dtype=torch.bool)
        x = torch.cat([p_i, phi], 2)
        for psi, name in ((self.psi_init, 'psi_init'), (self.psi_iter, 'psi_iter')):
            with self.part(name):
                weights = correspondence_weights(psi(x, mask)[0], mask)
            with self.part('Procrustes (Eq. 4), twice'):
                T, _ = weighted_procrustes(phi.double(), p_i.double(), weights.double())
                r = residuals(T.float(), phi, p_i)
            x = torch.cat([x, r[..., None], weights[..., None]], 2)
        return T


def random_pairs(batch: int, count: int) -> tuple[Tensor, Tensor]:
    """Return unit features (2, B, N, 32) and points (2, B, N, 3) of a room."""
    torch.manual_seed(1)
    features = nn.functional.normalize(torch.randn(2, batch, count, CHANNELS), dim=-1)
    return features, 3 * torch.rand(2, batch, count, 3)


@torch.no_grad()
def times(count: int, rounds: int) -> dict[str, float]:
    """Return the milliseconds of each part of a pair of fragments of so many points."""
    pair, inputs = Pair().eval(), random_pairs(1, count)
    runs = []
    for _ in range(1 + rounds):
        pair.milliseconds = {}
        pair(*inputs)
        runs.append(pair.milliseconds)
    return {name: min(run[name] for run in runs[1:]) for name in runs[0]}


def added_memory(batch: int, count: int, training: bool) -> float:
    """Return the MB by which this process grows in a forward pass, or forward and backward."""
    torch.set_num_threads(1)
    pair = Pair().train(training)
    features, points = random_pairs(batch, count)
    before = peak_memory_mb()
    with torch.set_grad_enabled(training):
        T = pair(features.requires_grad_(training), points)
    if training:
        T.sum().backward()
    return peak_memory_mb() - before


def time_table(columns: dict[int, dict[str, float]]) -> str:
    """Return milliseconds and shares as a Markdown table."""
    heads = [f'{count} points, ms | share' for count in columns]
    rows = [f'| a pair | {" | ".join(heads)} |', '|---' * (1 + 2 * len(columns)) + '|']
    totals = {count: sum(parts.values()) for count, parts in columns.items()}
    for name in next(iter(columns.values())):
        cells = [f'{parts[name]:.1f} | {parts[name] / totals[count]:.0%}'
                 for count, parts in columns.items()]
        rows.append(f'| {name} | {" | ".join(cells)} |')
    cells = [f'{total:.1f} | 100%' for total in totals.values()]
    return '\n'.join([*rows, f'| sum | {" | ".join(cells)} |']) + '\n'


def memory_table(counts: list[int], batch: int) -> str:
    """Return MB as a Markdown table; each is measured in a process of its own."""
    heads = [f'{count} points, MB' for count in counts]
    rows = [f'| a batch of {batch} pairs | {" | ".join(heads)} |',
            '|---' * (1 + len(counts)) + '|']
    with get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        for name, training in (('forward', False), ('forward and backward', True)):
            cells = [f'{pool.apply(added_memory, (batch, count, training)):.0f}'
                     for count in counts]
            rows.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(rows) + '\n'


def main() -> None:
    """Print two Markdown tables, milliseconds and shares of a pair and megabytes of a batch."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--points', type=int, nargs='+', default=[2048, 5000])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--out', type=Path, default=Path('pairs.md'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    # First, because a new process counts the largest size of the one that started it as its own.
    memory = memory_table(args.points, args.batch)
    milliseconds = time_table({count: times(count, args.rounds) for count in args.points})
    text = f'{milliseconds}\n{memory}'
    publish(text, args.out)


if __name__ == '__main__':
    main()
