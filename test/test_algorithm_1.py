# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Alg. 1 with parts whose answers are known in place of the learned ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from itertools import combinations

from mvreg_ros.multiview.algorithm_1 import (
    Algorithm1Config,
    algorithm_1,
    Gamma,
    PairEstimate,
    relative_poses,
    transform,
)
from mvreg_ros.multiview.synchronization import transf_sync
import numpy as np
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


@dataclass
class ChangingBlocks:
    """Blocks whose answers depend on all they are given."""

    opinion: Tensor
    beta: Tensor = field(default_factory=lambda: torch.tensor(0.7).double())
    seen: list[Tensor] = field(default_factory=list)

    def psi(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits that fall with the distance, the residual and the weight before."""
        self.seen.append(x)
        logits = 1.5 - (x[..., :3] - x[..., 3:6]).norm(dim=-1) / 4 - 0.1 * x[..., 6:].sum(-1)
        return logits.masked_fill(~mask, 9.0), x

    psi_init = psi_iter = psi

    def zeta(self, features: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """Return an opinion of each pair that moves a little with its weights."""
        return self.opinion + 0.3 * weights.sum(1) / mask.sum(1)


def literal_algorithm_1(blocks: ChangingBlocks, gamma: Gamma, prune: float) -> list[dict]:
    """Return what Alg. 1 has after each round, pair by pair and equation by equation, in NumPy."""
    pairs = len(gamma.i)
    S, phi = gamma.points_i.numpy(), gamma.points_j.numpy()
    lengths = gamma.mask.sum(1).tolist()

    def solve(x: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
        weights, T, logits = [], [], []
        for p in range(pairs):
            n = lengths[p]
            row = torch.from_numpy(x[p])[None]
            real = torch.ones(1, n, dtype=torch.bool)
            score, features = blocks.psi(row, real)
            w = np.tanh(np.maximum(score[0].numpy(), 0))
            single = ChangingBlocks(blocks.opinion[p: p + 1])
            logits.append(single.zeta(features, torch.from_numpy(w)[None], real).item())
            weights.append(w)
            T.append(horn(phi[p, :n], S[p, :n], w))
        return weights, T, logits

    x = [np.concatenate([S[p, :n], phi[p, :n]], 1) for p, n in enumerate(lengths)]
    w, T, _ = solve(x)
    r = [np.linalg.norm(moved(T[p], phi[p, :n]) - S[p, :n], axis=1)
         for p, n in enumerate(lengths)]
    rounds: list[dict] = []
    c_global = np.ones(pairs)
    for k in range(4):
        w, T, logits = solve([np.column_stack([x[p], r[p], w[p]]) for p in range(pairs)])
        c_local = 1 / (1 + np.exp(-np.array(logits)))
        kept = c_local >= prune
        c = c_local if k == 0 else joint(c_local, c_global)
        for _ in range(4):
            poses = transf_sync(
                SCANS, gamma.i[kept], gamma.j[kept], torch.from_numpy(np.stack(T)[kept]),
                torch.from_numpy(c[kept])).numpy()
            star = [np.linalg.inv(poses[i]) @ poses[j]
                    for i, j in zip(gamma.i, gamma.j, strict=True)]
            residual = np.array([np.linalg.norm(T[p] - star[p]) for p in range(pairs)])
            few = residual[kept]
            b = 1.482 * 2.385 * np.median(np.abs(few - np.median(few)))
            c_global = 1 / (1 + (residual / b) ** 2)
            c = joint(c_local, c_global)
        x = [np.concatenate([S[p, :n], moved(star[p], phi[p, :n])], 1)
             for p, n in enumerate(lengths)]
        r = [np.linalg.norm(moved(star[p], phi[p, :n]) - S[p, :n], axis=1)
             for p, n in enumerate(lengths)]
        rounds.append({'poses': poses, 'c_global': c_global, 'c': c})
    return rounds


def joint(c_local: np.ndarray, c_global: np.ndarray) -> np.ndarray:
    """Return Eq. 15 with the beta of `ChangingBlocks`."""
    return (1 + 0.7**2) * c_global * c_local / (0.7**2 * c_global + c_local)


def moved(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return T applied to points (N, 3)."""
    return points @ T[:3, :3].T + T[:3, 3]


def horn(source: np.ndarray, target: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return Eq. 4 by SciPy: the T that takes the source to the target."""
    p, q = (np.average(points, axis=0, weights=w) for points in (source, target))
    T = np.eye(4)
    T[:3, :3] = Rotation.align_vectors(target - q, source - p, weights=w)[0].as_matrix()
    T[:3, 3] = q - T[:3, :3] @ p
    return T


def test_it_is_the_printed_algorithm() -> None:
    """A literal twin; weights change by the round, there is padding, and a pair is pruned."""
    gamma, _, _ = scene(wrong_pairs=((1, 4),))
    generator = torch.Generator().manual_seed(8)
    noisy = gamma.points_i + 0.2 * torch.randn(
        gamma.points_i.shape, generator=generator, dtype=torch.float64)
    mask = torch.arange(POINTS) < 30 + torch.arange(len(gamma.i))[:, None]
    noisy[~mask] = 1e3
    gamma = replace(gamma, points_i=noisy, mask=mask)
    opinion = torch.linspace(-0.5, 2.5, len(gamma.i), dtype=torch.float64)
    opinion[4] = -3.0
    _, rounds = algorithm_1(
        ChangingBlocks(opinion), gamma, SCANS, Algorithm1Config(prune=0.3))
    expected = literal_algorithm_1(ChangingBlocks(opinion), gamma, prune=0.3)
    assert not rounds[0].kept[4]
    for found, each in zip(rounds, expected, strict=True):
        assert int(found.kept.sum()) == len(gamma.i) - 1
        np.testing.assert_allclose(found.poses, each['poses'], atol=1e-6)
        np.testing.assert_allclose(found.c_global, each['c_global'], atol=1e-6)
        np.testing.assert_allclose(found.c, each['c'], atol=1e-6)


def test_a_pair_without_a_pose_takes_no_part() -> None:
    """Whatever is wanted of the confidence: a scan that only such pairs reach stays alone."""
    gamma, right, _ = scene()
    reached = (gamma.j == 4)
    nowhere = replace(gamma, points_j=torch.where(
        reached[:, None, None], torch.ones(3).double(), gamma.points_j))
    blocks = KnowingBlocks(right, torch.full((len(right),), 0.9))
    _, rounds = algorithm_1(blocks, nowhere, SCANS, CONFIG)
    assert rounds[-1].component.tolist() == [0, 0, 0, 0, -1]
    assert (rounds[-1].kept == ~reached).all()
    assert (rounds[-1].pairs.c_local[reached] == 0).all()
