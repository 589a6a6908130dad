# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Overlap pooling, the inlier ratio and the confidence of a pair."""

from __future__ import annotations

from mvreg_ros.pairwise.confidence_block import ConfidenceBlock, inlier_ratio, overlap_pooling
import pytest
import torch
from torch.autograd import gradcheck


def pair(count: int, batch: int = 2, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and weights of so many correspondences."""
    generator = torch.Generator().manual_seed(count)
    return (torch.randn(batch, count, width, generator=generator, dtype=torch.float64),
            torch.rand(batch, count, generator=generator, dtype=torch.float64))


def test_pooling_is_the_weighted_average() -> None:
    """By hand; the number of correspondences and the scale of the weights do not matter."""
    features = torch.tensor([[[1.0, 0], [3, 8], [100, 100]]])
    weights = torch.tensor([[0.25, 0.75, 0]])
    expected = torch.tensor([[2.5, 6]])
    torch.testing.assert_close(overlap_pooling(features, weights), expected)
    torch.testing.assert_close(overlap_pooling(features, weights / 10), expected)
    torch.testing.assert_close(
        overlap_pooling(features.repeat(1, 4, 1), weights.repeat(1, 4)), expected)


def test_pooling_without_any_weight_is_zero_with_finite_gradients() -> None:
    weights = torch.zeros(1, 3, requires_grad=True)
    features = torch.ones(1, 3, 2, requires_grad=True)
    pooled = overlap_pooling(features, weights)
    assert not pooled.any()
    pooled.sum().backward()
    assert weights.grad is not None
    assert features.grad is not None
    assert weights.grad.isfinite().all()
    assert features.grad.isfinite().all()


def test_the_inlier_ratio_counts_real_correspondences() -> None:
    """More than 0.5, strictly; padding is neither above nor below."""
    weights = torch.tensor([[0.5, 0.51, 0.9, 0.1, 0.9], [0.6, 0.9, 0.9, 0.9, 0.9]])
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], dtype=torch.bool)
    torch.testing.assert_close(inlier_ratio(weights, mask), torch.tensor([0.5, 1.0]))


def test_the_mlp_is_that_of_the_paper() -> None:
    """129-64-32-1 with ReLU between, on the pooled features and the ratio, worked out by hand."""
    block = ConfidenceBlock().double()
    assert [tuple(p.shape) for p in block.parameters()] == [
        (64, 129), (64,), (32, 64), (32,), (1, 32), (1,)]
    features, weights = pair(20, width=128)
    mask = torch.ones(2, 20, dtype=torch.bool)
    W1, b1, W2, b2, W3, b3 = block.parameters()
    for k in range(2):
        pooled = (weights[k][:, None] * features[k]).sum(0) / weights[k].sum()
        h = torch.cat([pooled, (weights[k] > 0.5).double().mean()[None]])
        h = (W2 @ (W1 @ h + b1).clamp(min=0) + b2).clamp(min=0)
        torch.testing.assert_close(
            block(features, weights, mask)[k], (W3 @ h + b3)[0])


@pytest.mark.parametrize('filling', [0.0, 5.0, float('nan')])
def test_padding_order_and_batch_mates_change_nothing(filling: float) -> None:
    block = ConfidenceBlock(6).double()
    features, weights = pair(9)
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    features[1, 5:], weights[1, 5:] = filling, filling
    expected = torch.cat([
        block(features[k:k + 1, :n], weights[k:k + 1, :n], mask[k:k + 1, :n])
        for k, n in enumerate((9, 5))])
    order = torch.randperm(9)
    torch.testing.assert_close(block(features, weights, mask), expected)
    torch.testing.assert_close(
        block(features[:, order], weights[:, order], mask[:, order]), expected)


def test_finite_differences_agree() -> None:
    """By features and by weights; the count behind the ratio has no gradient."""
    torch.manual_seed(1)
    block = ConfidenceBlock(6).double()
    features, weights = pair(5)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    assert gradcheck(lambda f, w: block(f, w, mask),
                     (features.requires_grad_(), weights.requires_grad_()))
