# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Alg. 1 with parts whose answers are known in place of the learned ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import combinations

from mvreg_ros.multiview.algorithm_1 import (
    Algorithm1Config,
    algorithm_1,
    Gamma,
    PairEstimate,
    relative_poses,
    transform,
)
import pytest
from scipy.spatial.transform import Rotation
import torch
from torch import Tensor

SCANS, POINTS, WRONG = 5, 40, 8
CONFIG = Algorithm1Config()


def random_poses(generator: torch.Generator, count: int) -> Tensor:
    """Return (count, 4, 4) poses within some metres, the first at the identity."""
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    turn = torch.randn(count - 1, 3, generator=generator, dtype=torch.float64)
    poses[1:, :3, :3] = torch.from_numpy(Rotation.from_rotvec(turn.numpy()).as_matrix())
    poses[1:, :3, 3] = torch.randn(count - 1, 3, generator=generator, dtype=torch.float64)
    return poses


def scene(wrong_pairs: tuple[tuple[int, int], ...] = ()) -> tuple[Gamma, Tensor, Tensor]:
    """
    Return correspondences of all pairs, their truth (P, K) bool, and the poses.

    Every pair has some wrong correspondences among the exact ones; a pair of `wrong_pairs` has
    exact ones of a pose that is not the right one.
    """
    generator = torch.Generator().manual_seed(3)
    poses = random_poses(generator, SCANS)
    i, j = torch.tensor(list(combinations(range(SCANS), 2))).T
    T_i_j = relative_poses(poses, i, j)
    for pair in wrong_pairs:
        row = int(((i == pair[0]) & (j == pair[1])).nonzero())
        T_i_j[row] = T_i_j[row] @ random_poses(generator, 2)[1]
    points_j = torch.randn(len(i), POINTS, 3, generator=generator, dtype=torch.float64)
    points_i = transform(T_i_j, points_j)
    points_i[:, :WRONG] += torch.randn(len(i), WRONG, 3, generator=generator, dtype=torch.float64)
    right = torch.ones(len(i), POINTS, dtype=torch.bool)
    right[:, :WRONG] = False
    return Gamma(i, j, points_i, points_j, torch.ones_like(right)), right, poses


@dataclass
class KnowingBlocks:
    """psi that knows the inliers and keeps what it saw, zeta with an opinion of each pair."""

    right: Tensor
    opinion: Tensor
    beta: Tensor = field(default_factory=lambda: torch.tensor(1.0))
    seen: list[Tensor] = field(default_factory=list)

    def psi(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the truth as logits."""
        self.seen.append(x)
        logits = torch.where(self.right, 10.0, -10.0).double()
        return logits, logits[..., None]

    psi_init = psi_iter = psi

    def zeta(self, features: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """Return the opinion as logits."""
        return torch.logit(self.opinion.double())


def test_right_weights_give_the_poses() -> None:
    """Every round has them, and pre-aligns the correspondences with them."""
    gamma, right, poses = scene()
    blocks = KnowingBlocks(right, torch.full((len(right),), 0.9))
    _, rounds = algorithm_1(blocks, gamma, SCANS, CONFIG)
    assert len(rounds) == 4
    for each in rounds:
        torch.testing.assert_close(each.poses, poses)
        assert each.component.tolist() == [0] * SCANS
    first, *prealigned = blocks.seen[1:]
    torch.testing.assert_close(first[..., :6], torch.cat([gamma.points_i, gamma.points_j], 2))
    assert len(prealigned) == 3
    for x in prealigned:
        torch.testing.assert_close(x[right][:, :3], x[right][:, 3:6])
        # The residual, then the weight, as the released network wants them.
        error = (x[..., :3] - x[..., 3:6]).norm(dim=-1)
        torch.testing.assert_close(x[..., 6], error)
        torch.testing.assert_close(x[..., 7], right.double() * torch.tanh(torch.tensor(10.0)))


def test_a_wrong_pair_is_outvoted_by_the_others() -> None:
    """Its global confidence falls, and the next rounds see it where the others want it."""
    gamma, right, poses = scene(wrong_pairs=((0, 3),))
    blocks = KnowingBlocks(right, torch.full((len(right),), 0.9))
    _, rounds = algorithm_1(blocks, gamma, SCANS, CONFIG)
    row = int(((gamma.i == 0) & (gamma.j == 3)).nonzero())
    others = torch.arange(len(right)) != row
    assert rounds[-1].c_global[row] < 0.01 < 0.5 < rounds[-1].c_global[others].min()
    expected = relative_poses(poses, gamma.i, gamma.j)
    assert (rounds[-1].pairs.T_i_j[row] - expected[row]).norm() > 0.5
    assert (rounds[-1].T_i_j - expected).norm(dim=(1, 2)).max() < 1e-3


def test_pruned_pairs_take_no_part() -> None:
    """Below tau_p the wrong pairs do no harm, and what falls apart has frames of its own."""
    across = tuple((i, j) for i in (0, 1, 2) for j in (3, 4))
    gamma, right, poses = scene(wrong_pairs=across)
    pairs = list(zip(gamma.i.tolist(), gamma.j.tolist(), strict=True))
    opinion = torch.tensor([0.2 if pair in across else 0.9 for pair in pairs])
    blocks = KnowingBlocks(right, opinion)
    _, rounds = algorithm_1(blocks, gamma, SCANS, Algorithm1Config(prune=0.85))
    last = rounds[-1]
    assert last.component.tolist() == [0, 0, 0, 1, 1]
    torch.testing.assert_close(last.poses[:3], poses[:3])
    torch.testing.assert_close(last.poses[4], torch.linalg.inv(poses[3]) @ poses[4])
    apart = opinion < 0.85
    torch.testing.assert_close(last.T_i_j[apart], last.pairs.T_i_j[apart])


def test_all_pruned_leaves_every_scan_alone() -> None:
    """No edge, no component, no error."""
    gamma, right, _ = scene()
    blocks = KnowingBlocks(right, torch.full((len(right),), 0.1))
    _, rounds = algorithm_1(blocks, gamma, SCANS, Algorithm1Config(prune=0.85))
    assert rounds[-1].component.tolist() == [-1] * SCANS


@pytest.mark.parametrize('power', [1.0, 2.0])
def test_cutting_the_pairs_changes_nothing(power: float) -> None:
    """`evaluate` may apply a block to a few pairs at a time."""
    gamma, right, _ = scene(wrong_pairs=((1, 2),))

    class Agreeing(KnowingBlocks):
        """psi that trusts what is near."""

        def psi_init(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            logits = 1 - (x[..., :3] - x[..., 3:6]).norm(dim=-1) / 10
            return logits, logits[..., None]

        psi_iter = psi_init

        def zeta(self, features: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
            return weights.mean(1)

    def by_three(
        function: Callable[..., PairEstimate], pairs: tuple[Tensor, ...]
    ) -> PairEstimate:
        parts = [function(*batch) for batch in zip(*(p.split(3) for p in pairs), strict=True)]
        return PairEstimate(*(
            torch.cat([getattr(part, f.name) for part in parts]) for f in fields(PairEstimate)))

    config = Algorithm1Config(power=power)
    blocks = Agreeing(right, right[:, 0])
    _, expected = algorithm_1(blocks, gamma, SCANS, config)
    _, found = algorithm_1(blocks, gamma, SCANS, config, by_three)
    torch.testing.assert_close(found[-1].poses, expected[-1].poses)
    torch.testing.assert_close(found[-1].c_global, expected[-1].c_global)
