# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What makes fragments look alike: what tells nothing comes to count little; known answers."""

from __future__ import annotations

from dataclasses import replace
import math

from mvreg_ros.pairs.match_kernel import match_kernel, projected
from mvreg_ros.training.likeness import (
    AggregatedScene,
    info_nce,
    learn_likeness,
    LikenessConfig,
    principal_components,
    share_found,
    together,
)
import pytest
import torch
from torch.nn.functional import normalize

# Of four words, the last is the only one that fragments of one place have in common.
PLACES, VIEWS, WORDS, TELLING = 4, 3, 4, 3


def scene(seed: int) -> AggregatedScene:
    """Return a scene of some places that were seen a few times each."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(PLACES * VIEWS, WORDS, 8, generator=generator)
    place = torch.randn(PLACES, 8, generator=generator).repeat_interleave(VIEWS, 0)
    vectors[:, TELLING] = place + 0.3 * vectors[:, TELLING]
    same = torch.arange(PLACES).repeat_interleave(VIEWS)
    return AggregatedScene(normalize(vectors, dim=2), (same[:, None] == same).float())


def test_words_that_tell_places_apart_come_to_count_most() -> None:
    scenes = [scene(seed) for seed in range(4)]
    projection, weights = learn_likeness(
        scenes, LikenessConfig(components=8, steps=60, scenes=2, decay=0.01))
    assert weights.sum().item() == pytest.approx(WORDS, rel=1e-5)
    assert (weights > 0).all() and weights[TELLING] > 2 * weights[:TELLING].max()
    other = together([scene(5), scene(6)])
    before, after = (
        share_found(match_kernel(vectors, used), other.overlap, VIEWS - 1)
        for vectors, used in ((other.vectors, torch.ones(WORDS)),
                              (projected(other.vectors, projection), weights)))
    assert before < after and after > 0.95


def test_directions_that_tell_places_apart_are_kept() -> None:
    """Half of the numbers differ from view to view, and are the larger: components begin there."""
    def seen(seed: int) -> AggregatedScene:
        one = scene(seed)
        generator = torch.Generator().manual_seed(100 + seed)
        noise = 3 * torch.randn(one.vectors.shape, generator=generator)
        return replace(one, vectors=normalize(torch.cat([one.vectors, noise], 2), dim=2))

    scenes = [seen(seed) for seed in range(8)]
    config = LikenessConfig(
        components=12, steps=150, scenes=4, rate_projection=0.03, decay_projection=0.0)
    start = principal_components(scenes, config.components)
    learned, _ = learn_likeness(scenes, config)
    shares = [torch.linalg.norm(W[:8]) / torch.linalg.norm(W) for W in (start, learned)]
    assert shares[1] > 1.2 * shares[0]


def test_what_costs_more_than_it_brings_stays_as_it_was() -> None:
    config = LikenessConfig(components=5, steps=60, decay=1e4, decay_projection=1e6)
    projection, weights = learn_likeness([scene(0)], config)
    torch.testing.assert_close(weights, torch.ones(WORDS), atol=0.02, rtol=0)
    start = principal_components([scene(0)], 5)
    torch.testing.assert_close(projection, start, atol=0.02, rtol=0)


def test_principal_components_are_those_of_the_singular_value_decomposition() -> None:
    vectors = scene(0).vectors.flatten(0, 1)
    expected = torch.linalg.svd(vectors).Vh[:3].T
    found = principal_components([scene(0)], 3)
    torch.testing.assert_close((found.T @ expected).abs(), torch.eye(3), atol=1e-4, rtol=0)


def test_the_same_scenes_teach_the_same() -> None:
    config = LikenessConfig(components=5, steps=5, scenes=1)
    scenes = [scene(0), scene(1)]
    for once, again in zip(
            learn_likeness(scenes, config), learn_likeness(scenes, config), strict=True):
        assert torch.equal(once, again)


def test_the_loss_of_three_fragments() -> None:
    """The first two overlap, the third lies apart from the first and neither from the second."""
    logits = torch.tensor([[9.0, 2.0, 1.0], [2.0, 9.0, 5.0], [1.0, 5.0, 9.0]])
    overlap = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 1.0]])
    expected = (math.log(1 + math.exp(1.0 - 2.0)) + 0.0) / 2
    assert info_nce(logits, overlap).item() == pytest.approx(expected, rel=1e-6)


def test_a_pair_is_found_if_it_is_among_the_most_alike_to_one_of_its_two() -> None:
    likeness = torch.tensor([[1, 0.2, 0.9, 0.8], [0.2, 1, 0.1, 0.0],
                             [0.9, 0.1, 1, 0.7], [0.8, 0.0, 0.7, 1]])
    overlap = torch.zeros(4, 4)
    overlap[0, 1] = overlap[1, 0] = 0.5  # the most alike to 1, the least alike to 0
    overlap[2, 3] = overlap[3, 2] = 0.5  # the second most alike to both
    assert share_found(likeness, overlap, 1) == 0.5
    assert share_found(likeness, overlap, 2) == 1.0
