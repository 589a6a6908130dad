# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The losses against numbers worked out by hand, finite differences and padding."""

from __future__ import annotations

import math

from mvreg_ros.training.losses import (
    classification_loss,
    confidence_loss,
    hardest_contrastive,
    JointLoss,
    synchronization_loss,
    transformation_loss,
)
import pytest
from scipy.spatial.transform import Rotation
import torch
from torch.autograd import gradcheck


def motion(axis: str, degrees: float, *translation: float) -> torch.Tensor:
    """Return T (4, 4)."""
    T = torch.eye(4, dtype=torch.float64)
    T[:3, :3] = torch.from_numpy(Rotation.from_euler(axis, degrees, degrees=True).as_matrix())
    if translation:
        T[:3, 3] = torch.tensor(translation, dtype=torch.float64)
    return T


def motions(count: int, seed: int = 0) -> torch.Tensor:
    """Return (count, 4, 4) random motions."""
    T = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    T[:, :3, :3] = torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())
    T[:, :3, 3] = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)).double()
    return T


def on_circle(*degrees: float) -> torch.Tensor:
    """Return unit features (N, 2); those a degrees apart have the distance 2 sin(a / 2)."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], 1)


def chord(degrees: float) -> float:
    """Return the distance of unit features so many degrees apart."""
    return 2 * math.sin(math.radians(degrees) / 2)


def on_line(*x: float) -> torch.Tensor:
    """Return points (N, 3) on the x axis."""
    return torch.tensor([[v, 0, 0] for v in x], dtype=torch.float64)


def test_hardest_contrastive_by_hand() -> None:
    """Two matches; the hardest negative of each of the four anchors is another true point."""
    features_p, features_q = on_circle(0, 90), on_circle(20, 80)
    points = on_line(0, 5)
    positives = torch.tensor([[0, 0], [1, 1]])
    found = hardest_contrastive(features_p, features_q, points, points, positives, 0.1)
    # p0 at 0 has its match at 20 and, nearer than any other, that same match as hardest negative:
    # it is left out. So it is for all four, and only the positive term remains.
    positive = ((chord(20) - 0.1)**2 + (chord(10) - 0.1)**2) / 2
    assert found.item() == pytest.approx(positive)

    # With the matches crossed the hardest negatives are real: p0 (0) has q0 (20), its match is q1.
    crossed = torch.tensor([[0, 1], [1, 0]])
    found = hardest_contrastive(features_p, features_q, points, points.flip(0), crossed, 0.1)
    positive = ((chord(80) - 0.1)**2 + (chord(70) - 0.1)**2) / 2
    of_p = ((1.4 - chord(20))**2 + (1.4 - chord(10))**2) / 2
    of_q = ((1.4 - chord(10))**2 + (1.4 - chord(20))**2) / 2
    assert found.item() == pytest.approx(positive + 0.5 * of_p + 0.5 * of_q)


def test_negatives_near_the_true_match_are_none() -> None:
    """Each mean is over the anchors whose hardest negative lies beyond the safe radius."""
    features_p, features_q = on_circle(0, 120), on_circle(0, 30, 120)
    points_p, points_q = on_line(0, 9), on_line(0, 0.5, 9)
    positives = torch.tensor([[0, 0], [1, 2]])

    def loss(safe_radius: float) -> float:
        return hardest_contrastive(features_p[:, [0, 1]], features_q, points_p, points_q,
                                   positives, safe_radius).item()

    # The hardest of p0 and p1, of q0 and q2 are their matches: nothing counts, distances are 0.
    assert loss(1.0) == 0
    # p0 matched to q1 instead: its hardest is q0, 0.5 m from the match.
    positives = torch.tensor([[0, 1], [1, 2]])
    positive = (chord(30) - 0.1)**2 / 2
    assert loss(1.0) == pytest.approx(positive)
    assert loss(0.4) == pytest.approx(positive + 0.5 * 1.4**2 + 0.5 * 0)


def test_candidates_are_a_random_subset() -> None:
    """The generator decides; with one candidate the negatives differ from draw to draw."""
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(40, 8, dtype=torch.float64))
    points = torch.randn(40, 3, dtype=torch.float64)
    positives = torch.arange(40)[:, None].expand(-1, 2)

    def loss(seed: int, candidates: int) -> float:
        return hardest_contrastive(
            features, features.roll(1, 0), points, points, positives, 0.01, candidates,
            torch.Generator().manual_seed(seed)).item()

    assert loss(0, 1) == loss(0, 1)
    assert len({loss(seed, 1) for seed in range(5)}) > 1
    assert loss(0, 40) == pytest.approx(loss(1, 40))
    assert loss(0, 1) < loss(0, 40)


def test_hardest_contrastive_without_matches_is_zero() -> None:
    features = on_circle(0, 50).requires_grad_()
    loss = hardest_contrastive(
        features, features, on_line(0, 1), on_line(0, 1), torch.zeros(0, 2, dtype=torch.long), 0.1)
    assert loss.item() == 0


def test_classification_is_balanced_by_hand() -> None:
    """Three inliers and one outlier weigh the same; a pair of outliers has one half only."""
    logits = torch.tensor([[0.0, math.log(3), math.log(3), 0], [-math.log(3), 0, 7, 7]])
    inlier = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1]], dtype=torch.bool)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    ln2, ln43 = math.log(2), math.log(4 / 3)
    first = ((ln2 + 2 * ln43) / 3 + ln2) / 2
    second = (ln43 + ln2) / 2 / 2
    assert classification_loss(logits, inlier, mask).item() == pytest.approx(
        (first + second) / 2)


def test_transformation_is_the_mean_distance_by_hand() -> None:
    """A half turn moves a point by twice its distance from the axis; a shift moves all alike."""
    truth = torch.stack([torch.eye(4, dtype=torch.float64)] * 2)
    T = torch.stack([motion('z', 180), motion('z', 0, 3, 4, 0)])
    points = torch.tensor([[[1.0, 0, 5], [0, 2, 0]], [[7, 7, 7], [1e9, 0, 0]]]).double()
    mask = torch.tensor([[True, True], [True, False]])
    assert transformation_loss(T, truth, points, mask).item() == pytest.approx((3 + 5) / 2)
    # The same in any frame of i.
    G = motions(1)[0]
    assert transformation_loss(G @ T, G @ truth, points, mask).item() == pytest.approx(4)


def test_confidence_labels_are_rotations_below_the_threshold() -> None:
    """4.9 degrees and any translation are right, 5.1 degrees wrong."""
    truth = motions(3)
    error = torch.stack([motion('x', 4.9, 9, 9, 9), motion('y', 5.1), motion('z', 175)])
    odds = math.log(3)
    logits = torch.tensor([odds, odds, -odds], requires_grad=True)
    right, wrong = math.log(4 / 3), math.log(4)
    loss = confidence_loss(logits, truth @ error, truth)
    assert loss.item() == pytest.approx((right + wrong + right) / 3)
    loss.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([-0.25, 0.75, 0.25]) / 3)
    everything = confidence_loss(logits, truth @ error, truth, math.radians(176))
    assert everything.item() == pytest.approx((right + right + wrong) / 3)


def test_synchronization_by_hand() -> None:
    """A quarter turn is sqrt(4) in the Frobenius norm; the map frame does not matter."""
    eye = torch.eye(4, dtype=torch.float64)
    truth = torch.stack([eye, eye, eye])
    poses = torch.stack([eye, motion('z', 90), motion('z', 0, 0, 3, 4)])
    i, j = torch.tensor([[0, 0, 1], [1, 2, 2]])
    # T_0_1 is wrong by the quarter turn, T_0_2 by 5 m, T_1_2 by both.
    expected = (2 + 5 + (2 + 5)) / 3
    assert synchronization_loss(poses, truth, i, j).item() == pytest.approx(expected)
    G, H = motions(2)
    assert synchronization_loss(G @ poses, H @ truth, i, j).item() == pytest.approx(expected)


def test_gradients_at_the_truth_are_finite() -> None:
    """Norms have no derivative at 0; theirs is taken as 0."""
    T = motions(3).requires_grad_()
    points = torch.randn(3, 4, 3, dtype=torch.float64)
    i, j = torch.tensor([[0, 0, 1], [1, 2, 2]])
    features = on_circle(0, 90).requires_grad_()
    positives = torch.tensor([[0, 0], [1, 1]])
    where = on_line(0, 1)
    loss = (
        transformation_loss(T, T.detach(), points, torch.ones(3, 4, dtype=torch.bool))
        + synchronization_loss(T, T.detach(), i, j)
        + hardest_contrastive(features, features, where, where, positives, 0.1)
    )
    assert loss.item() == pytest.approx(0, abs=1e-12)
    loss.backward()
    for gradient in (T.grad, features.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_finite_differences_agree() -> None:
    """Of each loss by all that it is differentiated by."""
    torch.manual_seed(0)
    T, truth = motions(3, 1).requires_grad_(), motions(3, 2)
    points = torch.randn(3, 4, 3, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(4) < torch.tensor([[4], [2], [3]])
    inlier = torch.rand(3, 4) < 0.5
    i, j = torch.tensor([[0, 0, 1], [1, 2, 2]])
    assert gradcheck(lambda T, p: transformation_loss(T, truth, p, mask), (T, points))
    assert gradcheck(lambda x: classification_loss(x, inlier, mask), (logits,))
    assert gradcheck(lambda x: confidence_loss(x, T, truth), (logits[:, 0],))
    assert gradcheck(lambda T: synchronization_loss(T, truth, i, j), (T,))
    features = [torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64))
                for _ in range(2)]
    where = torch.randn(6, 3, dtype=torch.float64)
    positives = torch.stack([torch.arange(6), torch.arange(6).roll(2)], 1)
    assert gradcheck(
        lambda p, q: hardest_contrastive(p, q, where, where, positives, 0.1),
        [f.requires_grad_() for f in features])


@pytest.mark.parametrize('filling', [1e3, float('nan')])
def test_padding_changes_nothing(filling: float) -> None:
    """Losses of a padded batch and their gradients are those of its pairs alone."""
    torch.manual_seed(0)
    T, truth = motions(2, 1).requires_grad_(), motions(2, 2)
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    points = torch.randn(2, 5, 3, dtype=torch.float64)
    logits = torch.randn(2, 5, dtype=torch.float64)
    inlier = torch.rand(2, 5) < 0.5
    points[1, 3:], logits[1, 3:] = filling, filling
    logits.requires_grad_()
    together = transformation_loss(T, truth, points, mask) + classification_loss(
        logits, inlier, mask)
    alone = torch.stack([
        transformation_loss(T[k:k + 1], truth[k:k + 1], points[k:k + 1, :n], mask[k:k + 1, :n])
        + classification_loss(logits[k:k + 1, :n], inlier[k:k + 1, :n], mask[k:k + 1, :n])
        for k, n in enumerate((5, 3))
    ]).mean()
    torch.testing.assert_close(together, alone)
    for a, b in zip(torch.autograd.grad(together, (T, logits)),
                    torch.autograd.grad(alone, (T, logits)), strict=True):
        torch.testing.assert_close(a, b)


def test_the_joint_loss_is_the_sum() -> None:
    """Eq. 10 within Eq. 16."""
    loss = JointLoss(*torch.tensor([1.0, 2, 4, 8, 16]))
    assert loss.registration.item() == 6
    assert loss.total.item() == 31
    weighted = JointLoss(*torch.tensor([1.0, 2, 4, 8, 16]), alpha=0.5, beta=3)
    assert weighted.registration.item() == 13
    assert weighted.total.item() == 38
