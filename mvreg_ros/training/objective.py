# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The joint loss of a scene with known poses (Eq. 16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvreg_ros.lmpcr import LmpcrOutput
from mvreg_ros.multiview.algorithm_1 import relative_poses, transform
from mvreg_ros.training.losses import (
    classification_loss,
    confidence_loss,
    hardest_contrastive,
    JointLoss,
    synchronization_loss,
    transformation_loss,
)
from scipy.spatial import cKDTree
import torch
from torch import Tensor


@dataclass(frozen=True)
class ObjectiveConfig:
    """
    Lengths of the labels, metres; the defaults are for voxels of 2.5 cm.

    positive: points of two scans that correspond (1.5 voxels). safe: what is nearer is no
    negative. inlier: of a correspondence (B.3.2). min_inliers: a pair with a smaller share of
    right correspondences says nothing about a pose, as in the released code. positives: the
    points of a pair that L_c looks at.
    """

    positive: float = 0.0375
    safe: float = 0.1
    inlier: float = 0.075
    min_inliers: float = 0.075
    positives: int = 1024

    @classmethod
    def for_voxel_size(cls, voxel_size: float) -> ObjectiveConfig:
        """Return the defaults with all lengths scaled."""
        scale = voxel_size / 0.025
        return cls(cls.positive * scale, cls.safe * scale, cls.inlier * scale)


class Objective:
    """
    The losses of one scene.

    scans: (N, 3) metres each; T_world_scan: (S, 4, 4) the truth, in the dtype of the scans.
    """

    def __init__(
        self, scans: Sequence[Tensor], T_world_scan: Tensor, config: ObjectiveConfig
    ) -> None:
        """Find the true matches of all pairs of scans."""
        self.config = config
        self.T_world_scan = T_world_scan
        self.world = list(transform_each(T_world_scan, scans))
        trees = [cKDTree(points.numpy()) for points in self.world]
        self.positives: dict[tuple[int, int], Tensor] = {}
        for i in range(len(scans)):
            for j in range(i + 1, len(scans)):
                distance, nearest = trees[j].query(self.world[i].numpy())
                rows = torch.from_numpy(distance < config.positive).nonzero()[:, 0]
                if len(rows):
                    self.positives[i, j] = torch.stack(
                        [rows, torch.from_numpy(nearest)[rows].long()], 1)

    def correspondence(self, descriptors: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        """Return L_c, the mean over the pairs that overlap."""
        losses = []
        for (i, j), positives in self.positives.items():
            rows = torch.randperm(len(positives), generator=generator)[:self.config.positives]
            losses.append(hardest_contrastive(
                descriptors[i], descriptors[j], self.world[i], self.world[j], positives[rows],
                self.config.safe, generator=generator))
        return torch.stack(losses).mean() if losses else descriptors[0].sum() * 0

    def __call__(self, output: LmpcrOutput, generator: torch.Generator) -> JointLoss:
        """
        Return the parts of Eq. 16, each the mean over the passes that it can be asked of.

        generator: draws the points that L_c looks at.
        """
        gamma, rounds = output.gamma, output.rounds
        truth = relative_poses(self.T_world_scan, gamma.i, gamma.j)
        distance = (transform(truth, gamma.points_j) - gamma.points_i).norm(dim=2)
        inlier = (distance.detach() < self.config.inlier) & gamma.mask
        useful = inlier.sum(1) > self.config.min_inliers * gamma.mask.sum(1)
        estimates = [output.initial, *(each.pairs for each in rounds)]
        dtype = truth.dtype

        def mean(losses: list[Tensor]) -> Tensor:
            return torch.stack(losses).mean()

        return JointLoss(
            correspondence=self.correspondence(output.descriptors, generator),
            classification=mean([
                classification_loss(e.logits, inlier, gamma.mask) for e in estimates]),
            transformation=mean([
                transformation_loss(
                    torch.linalg.inv(e.T_i_j[useful]).to(dtype), torch.linalg.inv(truth[useful]),
                    gamma.points_i[useful], gamma.mask[useful])
                for e in estimates]) if useful.any() else truth.new_zeros(()),
            confidence=mean([
                confidence_loss(each.pairs.confidence, each.pairs.T_i_j.to(dtype), truth)
                for each in rounds]),
            synchronization=mean([
                synchronization_loss(each.poses.to(dtype), self.T_world_scan, gamma.i, gamma.j)
                for each in rounds]),
        )


def transform_each(T: Tensor, scans: Sequence[Tensor]) -> list[Tensor]:
    """Return the points (N, 3) of each scan in the world."""
    return [points @ R.T + t
            for points, R, t in zip(scans, T[:, :3, :3], T[:, :3, 3], strict=True)]
