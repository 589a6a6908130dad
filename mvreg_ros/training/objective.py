# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The joint loss of a scene with known poses (Eq. 16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mvreg_ros.lmpcr import LmpcrOutput
from mvreg_ros.multiview.algorithm_1 import (
    Gamma,
    PairEstimate,
    relative_poses,
    transform,
)
from mvreg_ros.training.losses import (
    classification_loss,
    confidence_loss,
    hardest_contrastive,
    JointLoss,
    synchronization_loss,
    transformation_loss,
)
from mvreg_ros.training.pairs import true_matches
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
        self.positives: dict[tuple[int, int], Tensor] = {}
        for i in range(len(scans)):
            for j in range(i + 1, len(scans)):
                positives = true_matches(
                    self.world[i].numpy(), self.world[j].numpy(), config.positive)
                if len(positives):
                    self.positives[i, j] = positives

    def to(self, device: torch.device) -> Objective:
        """Move everything to a device, and return it."""
        self.T_world_scan = self.T_world_scan.to(device)
        self.world = [points.to(device) for points in self.world]
        self.positives = {pair: rows.to(device) for pair, rows in self.positives.items()}
        return self

    def correspondence(self, descriptors: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        """Return L_c, the mean over the pairs that overlap."""
        losses = []
        for (i, j), positives in self.positives.items():
            rows = torch.randperm(len(positives), generator=generator)[:self.config.positives]
            losses.append(hardest_contrastive(
                descriptors[i], descriptors[j], self.world[i], self.world[j], positives[rows],
                self.config.safe, generator=generator))
        return mean(losses) if losses else descriptors[0].sum() * 0

    def __call__(self, output: LmpcrOutput, generator: torch.Generator) -> JointLoss:
        """
        Return the parts of Eq. 16, each the mean over the passes that it can be asked of.

        generator: draws the points that L_c looks at.
        """
        gamma, rounds = output.gamma, output.rounds
        truth = relative_poses(self.T_world_scan, gamma.i, gamma.j)
        passes = [each.pairs for each in rounds]
        parts = registration_losses(gamma, truth, [output.initial, *passes], self.config)
        return JointLoss(
            correspondence=self.correspondence(output.descriptors, generator),
            classification=parts['classification'],
            transformation=parts['transformation'],
            confidence=parts['confidence'],
            synchronization=mean([
                synchronization_loss(
                    each.poses.to(truth.dtype), self.T_world_scan, gamma.i, gamma.j)
                for each in rounds]),
        )


def registration_losses(
    gamma: Gamma, truth: Tensor, estimates: Sequence[PairEstimate], config: ObjectiveConfig
) -> dict[str, Tensor]:
    """
    Return L_class, L_trans and L_conf, each the mean over the passes.

    truth: (P, 4, 4) T_i_j. estimates: of psi_init, then of psi_iter; the confidence is that of
    psi_iter, which is what the pipeline uses.
    """
    distance = (transform(truth, gamma.points_j) - gamma.points_i).norm(dim=2)
    inlier = (distance.detach() < config.inlier) & gamma.mask
    useful = inlier.sum(1) > config.min_inliers * gamma.mask.sum(1)
    dtype = truth.dtype
    return {
        'classification': mean([
            classification_loss(e.logits, inlier, gamma.mask) for e in estimates]),
        'transformation': mean([
            transformation_loss(
                torch.linalg.inv(e.T_i_j[useful]).to(dtype), torch.linalg.inv(truth[useful]),
                gamma.points_i[useful], gamma.mask[useful])
            for e in estimates]) if useful.any() else truth.new_zeros(()),
        'confidence': mean([
            confidence_loss(e.confidence, e.T_i_j.to(dtype), truth) for e in estimates[1:]]),
    }


def mean(losses: list[Tensor]) -> Tensor:
    """Return the mean of scalars."""
    return torch.stack(losses).mean()


def transform_each(T: Tensor, scans: Sequence[Tensor]) -> list[Tensor]:
    """Return the points (N, 3) of each scan in the world."""
    return [points @ R.T + t
            for points, R, t in zip(scans, T[:, :3, :3], T[:, :3, 3], strict=True)]
