# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What makes fragments that overlap look alike: the learned part of `pairs.vocabulary`.

A projection of where descriptors lie off their words, and how much each word counts, by InfoNCE:
of all fragments of some scenes, which are from different flats, those that overlap with one shall
be the most alike to it. Flats are few beside the rooms of the world, so that little is learned,
and it stays near what it began as: the principal components, and words that all count the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from mvreg_ros.pairs.match_kernel import match_kernel, projected
import torch
from torch import Tensor

# Shares of the smaller fragment, see `training.scenes.overlaps`, from which on two fragments are
# to look alike, and up to which they are not.
OVERLAPPING, APART = 0.3, 0.05


@dataclass(frozen=True)
class AggregatedScene:
    """The fragments of a scene: vectors (S, K, D) of `aggregated`, overlap (S, S)."""

    vectors: Tensor
    overlap: Tensor


@dataclass(frozen=True)
class LikenessConfig:
    """
    How a projection and weights are learned, by Adam with a cosine schedule.

    components: of the projection. scenes: of each step. rate, rate_projection: of learning the
    weights and the projection. decay: of the mean square of the logarithms of the weights.
    decay_projection: of the square of how far a component moves, in the mean. scale: what a
    likeness is multiplied with at first; that is learned too.
    """

    components: int = 40
    steps: int = 300
    scenes: int = 6
    rate: float = 0.05
    rate_projection: float = 3e-3
    decay: float = 1.0
    decay_projection: float = 0.5
    scale: float = 100.0
    seed: int = 0


def together(scenes: Sequence[AggregatedScene]) -> AggregatedScene:
    """Return scenes as one, in which fragments of different ones do not overlap."""
    return AggregatedScene(
        torch.cat([scene.vectors for scene in scenes]),
        torch.block_diag(*[scene.overlap for scene in scenes]))


def principal_components(scenes: Sequence[AggregatedScene], count: int) -> Tensor:
    """Return (D, count) the directions in which the vectors of scenes are largest."""
    vectors = torch.cat([scene.vectors.flatten(0, 1) for scene in scenes])
    return torch.linalg.eigh(vectors.T @ vectors).eigenvectors[:, -count:].flip(1)


def learn_likeness(
    scenes: Sequence[AggregatedScene], config: LikenessConfig | None = None
) -> tuple[Tensor, Tensor]:
    """Return the projection (D, d), and the weights (K,), positive and one in the mean."""
    config = config or LikenessConfig()
    generator = torch.Generator().manual_seed(config.seed)
    words = scenes[0].vectors.shape[1]
    start = principal_components(scenes, config.components)
    moved = torch.zeros_like(start, requires_grad=True)
    logits = torch.zeros(words, requires_grad=True)
    log_scale = torch.tensor(math.log(config.scale), requires_grad=True)
    optimizer = torch.optim.Adam([
        {'params': [logits, log_scale], 'lr': config.rate},
        {'params': [moved], 'lr': config.rate_projection}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for _ in range(config.steps):
        chosen = torch.randperm(len(scenes), generator=generator)[:config.scenes]
        some = together([scenes[k] for k in chosen.tolist()])
        likeness = match_kernel(
            projected(some.vectors, start + moved), words * logits.softmax(0))
        loss = info_nce(likeness * log_scale.exp(), some.overlap)
        loss = loss + config.decay * logits.square().mean()
        loss = loss + config.decay_projection * moved.square().sum(0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return start + moved.detach(), words * logits.detach().softmax(0)


def info_nce(logits: Tensor, overlap: Tensor) -> Tensor:
    """
    Return the mean over fragments of - log p(one that overlaps; it and all that lie apart).

    logits, overlap: (S, S); the diagonal does not matter.
    """
    itself = torch.eye(len(overlap), dtype=torch.bool)
    positive = (overlap > OVERLAPPING) & ~itself
    apart = logits.masked_fill((overlap > APART) | itself, -math.inf).logsumexp(1, keepdim=True)
    loss = (torch.logaddexp(apart, logits) - logits) * positive
    count = positive.sum(1)
    return (loss.sum(1) / count.clamp(min=1))[count > 0].mean()


def share_found(likeness: Tensor, overlap: Tensor, first: int) -> float:
    """
    Return the share of overlapping pairs with one among the `first` most alike to the other.

    likeness, overlap: (S, S).
    """
    others = likeness.clone().fill_diagonal_(-math.inf)
    rank = others.argsort(1, descending=True).argsort(1)
    pairs = torch.triu(overlap > OVERLAPPING, 1)
    return float((torch.minimum(rank, rank.T)[pairs] < first).float().mean())
