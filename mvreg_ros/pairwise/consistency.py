# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Correspondence weights from spatial consistency: a rigid motion keeps distances.

Two correspondences are compatible when the distance of their points is the same in both fragments.
The second-order measure counts the common compatible partners (SC2-PCR, Chen et al., CVPR 2022).
This stands where psi_init of Eq. 4 stands.
"""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.pairwise.procrustes import residuals, weighted_procrustes
from mvreg_ros.types import Correspondences
import torch
from torch import Tensor

POWER_ITERATIONS = 10


def distances(points: Tensor) -> Tensor:
    """Return the (K, K) distances between points, free of the fast form's rounding."""
    return torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')


@dataclass(frozen=True)
class SpatialConsistency:
    """
    Weights correspondences by the rigid motions that the most of them agree on.

    inlier_distance: metres within which a correspondence agrees with a motion. neighbors: the
    compatible partners that a seed's motion is fitted to. max_seeds: motions tried for a pair.
    motions: of these that are returned, the best and those that are quite others.
    """

    inlier_distance: float
    neighbors: int = 20
    max_seeds: int = 512
    motions: int = 3

    def __call__(self, pair: Correspondences) -> Tensor:
        """
        Return weights (M, K) in [0, 1] for at most `motions` motions, the best one first.

        They are 1 at the motion and 0 from the inlier distance on.
        """
        source, target = pair.points_j, pair.points_i
        if len(source) < 3:
            return source.new_zeros(1, len(source))
        change = (distances(source) - distances(target)).abs()
        hard = (change < self.inlier_distance / 2).to(source.dtype)
        soft = (1 - (change / self.inlier_distance).square()).clamp(min=0)
        seeds = self._seeds(hard, soft)

        common = (hard[seeds] @ hard) * hard[seeds]  # SC2: partners that two have in common
        count = min(self.neighbors, len(source))
        weights, members = common.topk(count, dim=1)
        fitted, _ = weighted_procrustes(source[members], target[members], weights + 1e-6)
        distance = residuals(fitted, source.expand(len(seeds), -1, -1), target)
        agreement = (1 - (distance / self.inlier_distance).square()).clamp(min=0)
        return agreement[self._distinct(agreement)]

    def _distinct(self, agreement: Tensor) -> list[int]:
        """Return the best rows that share less than half of what they agree with."""
        score, found = agreement.sum(1), list[int]()
        for _ in range(self.motions):
            best = int(score.argmax())
            if found and score[best] <= 0:
                break
            found.append(best)
            common = (agreement > 0).to(score.dtype) @ (agreement[best] > 0).to(score.dtype)
            own = (agreement > 0).sum(1).clamp(min=1)
            score = torch.where(common > own / 2, torch.zeros_like(score), score)
        return found

    def _seeds(self, hard: Tensor, soft: Tensor) -> Tensor:
        """Return the correspondences to start from: all, or the best by two measures."""
        count = len(hard)
        if count <= self.max_seeds:
            return torch.arange(count, device=hard.device)
        leading = soft.new_ones(count)
        for _ in range(POWER_ITERATIONS):
            leading = torch.nn.functional.normalize(soft @ leading, dim=0)
        half = self.max_seeds // 2
        return torch.cat([leading.topk(half).indices, hard.sum(1).topk(half).indices]).unique()
