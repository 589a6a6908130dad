# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Soft nearest neighbours against Eq. 9 written down naively, their limits and their memory."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st
from mvreg_ros.pairwise.soft_matching import SoftNearestNeighbors
import pytest
import torch
from torch.autograd import gradcheck
from torch.profiler import profile

SEEDS = st.integers(0, 2**32 - 1)


def matching(
    temperature: float = 0.3, straight_through: bool = False, max_bytes: int = 16_000_000,
    dtype: torch.dtype = torch.float64,
) -> SoftNearestNeighbors:
    """Return the module at a temperature."""
    module = SoftNearestNeighbors(straight_through, max_bytes)
    module.temperature.data.fill_(temperature)
    return module.to(dtype)


def inputs(
    seed: int, n: int, m: int, channels: int = 4, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    """Return features of p and of q, and points of q, leaves that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((n, channels), (m, channels), (m, 3))
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def naive(
    features_p: torch.Tensor, features_q: torch.Tensor, points_q: torch.Tensor,
    temperature: torch.Tensor,
) -> torch.Tensor:
    """Return Eq. 9 with the full table of differences."""
    d = (features_p[:, None] - features_q[None]).square().sum(2)
    return torch.softmax(-d / temperature.square().clamp(min=1e-4), 1) @ points_q


@given(SEEDS, st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 900, 10**7]),
       st.floats(0.05, 3))
@settings(max_examples=30)
def test_values_and_gradients_are_those_of_eq_9(
    seed: int, n: int, m: int, max_bytes: int, temperature: float
) -> None:
    """In any number of blocks, to features, points and temperature."""
    module = matching(temperature, max_bytes=max_bytes)
    given_ = inputs(seed, n, m)
    found, expected = module(*given_), naive(*given_, module.temperature)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    upstream = torch.randn_like(found)
    leaves = [*given_, module.temperature]
    for a, b in zip(torch.autograd.grad(found, leaves, upstream),
                    torch.autograd.grad(expected, leaves, upstream), strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)


def test_single_precision_is_within_1e_5() -> None:
    """Unit features as FCGF gives them, points of a room: values and gradients."""
    features_p, features_q, points_q = (x.detach() for x in inputs(0, 200, 300, 32, torch.float32))
    features_p, features_q = map(torch.nn.functional.normalize, (features_p, features_q))
    results = []
    for dtype in (torch.float32, torch.float64):
        module = matching(max_bytes=50_000, dtype=dtype)
        leaves = [x.to(dtype).requires_grad_()
                  for x in (features_p, features_q, points_q)]
        found = module(*leaves) if dtype == torch.float32 else naive(*leaves, module.temperature)
        leaves.append(module.temperature)
        results.append([found, *torch.autograd.grad(found.square().mean(), leaves)])
    for single, double in zip(*results, strict=True):
        torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=1e-4)


def test_autocast_does_not_reach_the_distances() -> None:
    """In half precision many of 300 neighbours would be others."""
    features_p, features_q, points_q = inputs(4, 300, 300, 32, torch.float32)
    module = matching(straight_through=True, dtype=torch.float32)
    expected = module(features_p, features_q, points_q)
    with torch.autocast('cpu', torch.bfloat16):
        found = module(features_p, features_q, points_q)
        found.sum().backward()
    assert torch.equal(found, expected)


def test_finite_differences_agree() -> None:
    """All four gradients at once, in blocks of two rows."""
    module = matching(0.8, max_bytes=4 * 6 * 8 * 2)
    leaves = inputs(3, 5, 6)

    def function(*x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {'temperature': x[3]}, x[:3])

    assert gradcheck(function, (*leaves, module.temperature))


@given(SEEDS, st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=20)
def test_straight_through_takes_the_nearest_and_differentiates_the_average(
    seed: int, n: int, m: int
) -> None:
    """The points get the gradient of the hard choice, all else that of the soft one."""
    hard, soft = matching(straight_through=True, max_bytes=2000), matching()
    leaves = inputs(seed, n, m)
    features_p, features_q, points_q = leaves
    found = hard(*leaves)
    nearest = torch.cdist(features_p, features_q).argmin(1)
    assert torch.equal(found, points_q[nearest])
    with torch.no_grad():
        assert torch.equal(hard(*leaves), found)
    upstream = torch.randn_like(found)
    gradients = torch.autograd.grad(found, [*leaves, hard.temperature], upstream)
    expected = torch.autograd.grad(soft(*leaves), [*leaves, soft.temperature], upstream)
    for k in (0, 1, 3):
        torch.testing.assert_close(gradients[k], expected[k], atol=1e-10, rtol=1e-8)
    chosen = torch.zeros_like(points_q).index_add_(0, nearest, upstream)
    torch.testing.assert_close(gradients[2], chosen)


def test_of_equally_near_the_first_is_taken() -> None:
    """In blocks of one row and all at once."""
    features_q = torch.tensor([[3.0, 0], [0, 1], [1, 0], [0, 1], [-1, 0]])
    points_q = torch.arange(15.0).reshape(5, 3)
    for max_bytes in (1, 10**6):
        module = matching(straight_through=True, max_bytes=max_bytes, dtype=torch.float32)
        found = module(torch.tensor([[0.0, 0], [0, 2], [2, 0]]), features_q, points_q)
        assert torch.equal(found, points_q[[1, 1, 0]])


def test_the_hard_limit() -> None:
    """At t -> 0 the average is the nearest neighbour, and t never falls below 1e-4."""
    leaves = inputs(1, 30, 40)
    hard = matching(straight_through=True)(*leaves)
    cold = matching(0.0)
    torch.testing.assert_close(cold(*leaves), hard)
    assert torch.equal(cold(*leaves), matching(0.01)(*leaves))
    warm = matching(1e3)(*leaves)
    torch.testing.assert_close(warm, leaves[2].mean(0).expand(30, 3), atol=1e-4, rtol=0)


@pytest.mark.parametrize('scale', [1e4, 1e8])
def test_large_features_do_not_overflow(scale: float) -> None:
    """Exponents of -1e17 and less: values and gradients stay finite and are those of t -> 0."""
    features_p, features_q, points_q = inputs(2, 20, 30, 8, torch.float32)
    module = matching(dtype=torch.float32)
    found = module(features_p * scale, features_q * scale, points_q)
    nearest = torch.cdist(features_p.double(), features_q.double()).argmin(1)
    torch.testing.assert_close(found, points_q[nearest])
    leaves = [features_p, features_q, points_q, module.temperature]
    for gradient in torch.autograd.grad(found.sum(), leaves):
        assert gradient.isfinite().all()


def peak_bytes(function: Callable[[], object]) -> int:
    """Return how many bytes of tensors are alive at the same time, at most, while it runs."""
    with profile(profile_memory=True) as profiler:
        function()
    changes = [event.nbytes() for event in profiler.profiler.kineto_results.events()
               if event.name() == '[memory]']
    assert changes
    return max(accumulate(changes))


@pytest.mark.parametrize('straight_through', [False, True])
def test_memory_is_bounded_whatever_the_size_of_the_table(straight_through: bool) -> None:
    """Beyond the bound there is only what has the size of the inputs, such as the gradients."""
    bound = 200_000
    module = matching(straight_through=straight_through, max_bytes=bound, dtype=torch.float32)
    leaves = inputs(0, 1000, 1000, 8, torch.float32)
    allowed = bound + 3 * sum(x.nbytes for x in leaves)
    assert allowed < 4 * 1000 * 1000 / 8
    assert bound / 4 < peak_bytes(lambda: module(*leaves).sum().backward()) < allowed
    with torch.no_grad():
        assert peak_bytes(lambda: module(*leaves)) < allowed
