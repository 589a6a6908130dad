# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The losses of Sec. 4: hardest-contrastive, Eq. 10, 11, 16, 17 and those of the labels.

B is the number of pairs, K of correspondences of a pair. Masks are (B, K) bool, False for padding,
which has no influence. Every loss is a scalar, with finite gradients at its minimum too.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

from mvreg_ros.multiview.algorithm_1 import relative_poses
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

POSITIVE_MARGIN, NEGATIVE_MARGIN = 0.1, 1.4
# The parts of the joint loss, Eq. 16, L_reg in its two.
PARTS = ('correspondence', 'classification', 'transformation', 'confidence', 'synchronization')
# Rotation error below which a pose counts as right. The paper gives none; this stands in settings
# that the authors published and no longer use.
TAU_A = math.radians(5)


def hardest_contrastive(
    features_p: Tensor, features_q: Tensor, points_p: Tensor, points_q: Tensor, positives: Tensor,
    safe_radius: float, candidates: int = 256, generator: torch.Generator | None = None,
) -> Tensor:
    """
    Return L_c of one pair of clouds, on the features of phi.

    features_p: (N, D), features_q: (M, D) unit rows. points_p: (N, 3), points_q: (M, 3) metres, in
    one frame, by the true pose. positives: (P, 2) int64 rows of p and q that correspond.
    safe_radius: metres; a hardest negative closer than that to the true match is none, and is left
    out as in FCGF. candidates: the size of the random subset of each cloud that negatives are
    mined in, drawn by `generator` on the CPU.
    """
    p, q = positives.T
    distance = (features_p[p] - features_q[q]).norm(dim=1)
    loss = (distance - POSITIVE_MARGIN).relu().square().sum() / max(1, len(positives))
    for anchors, places, features, points in (
        (features_p[p], points_q[q], features_q, points_q),
        (features_q[q], points_p[p], features_p, points_p),
    ):
        subset = torch.randperm(len(features), generator=generator)[:candidates]
        subset = subset.to(features.device)
        with torch.no_grad():
            hardest = subset[torch.cdist(anchors, features[subset]).argmin(1)]
            valid = (places - points[hardest]).norm(dim=1) > safe_radius
        hinge = (NEGATIVE_MARGIN - (anchors - features[hardest]).norm(dim=1)).relu()
        loss = loss + 0.5 * (hinge.square() * valid).sum() / valid.sum().clamp(min=1)
    return loss


def classification_loss(logits: Tensor, inlier: Tensor, mask: Tensor) -> Tensor:
    """
    Return L_class: half the mean cross entropy of the inliers, half that of the outliers.

    logits, inlier: (B, K). A pair without the one or the other has that half at 0.
    """
    entropy = binary_cross_entropy_with_logits(
        logits.masked_fill(~mask, 0), inlier.to(logits.dtype), reduction='none'
    )
    halves = [
        (entropy * rows).sum(1) / rows.sum(1).clamp(min=1)
        for rows in (inlier & mask, ~inlier & mask)
    ]
    return torch.stack(halves).sum(0).mean() / 2


def transformation_loss(T: Tensor, truth: Tensor, points: Tensor, mask: Tensor) -> Tensor:
    """
    Return L_trans, the mean distance between points moved by the estimate and by the truth.

    T, truth: (B, 4, 4) from the frame of the points; points: (B, K, 3) metres (Eq. 11, where they
    are those of the first scan, which depend on no weights).
    """
    difference = (T - truth)[:, :3]
    points = points.masked_fill(~mask[..., None], 0).to(T.dtype)
    apart = points @ difference[..., :3].transpose(1, 2) + difference[:, None, :, 3]
    return ((apart.norm(dim=2) * mask).sum(1) / mask.sum(1)).mean()


def confidence_loss(logits: Tensor, T: Tensor, truth: Tensor, max_angle: float = TAU_A) -> Tensor:
    """
    Return L_conf, the cross entropy of c_local, labelled by rotation errors below max_angle.

    logits: (B,) of c_local; T, truth: (B, 4, 4) T_i_j; max_angle: rad. No gradient reaches T.
    """
    trace = (T[:, :3, :3] * truth[:, :3, :3]).sum((1, 2))
    right = (trace - 1) / 2 > math.cos(max_angle)
    return binary_cross_entropy_with_logits(logits, right.to(logits.dtype))


def synchronization_loss(poses: Tensor, truth: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """
    Return L_sync, the mean error of the relative poses that the absolute ones imply (Eq. 17).

    poses, truth: (S, 4, 4) T_map_i, each in a map frame of its own. i, j: (E,) int64, the pairs.
    The Frobenius norm of the rotation's error plus metres.
    """
    difference = relative_poses(poses, i, j) - relative_poses(truth, i, j)
    rotation = difference[:, :3, :3].flatten(1).norm(dim=1)
    return (rotation + difference[:, :3, 3].norm(dim=1)).mean()


@dataclass(frozen=True)
class JointLoss:
    """
    The parts of the joint loss, Eq. 10 and 16; those of several rounds are averaged before.

    alpha, beta: weights of the classification and of the transformation; the paper gives none.
    """

    correspondence: Tensor
    classification: Tensor
    transformation: Tensor
    confidence: Tensor
    synchronization: Tensor
    alpha: float = 1.0
    beta: float = 1.0

    @property
    def registration(self) -> Tensor:
        """L_reg (Eq. 10)."""
        return self.alpha * self.classification + self.beta * self.transformation

    @property
    def total(self) -> Tensor:
        """L (Eq. 16)."""
        return self.correspondence + self.registration + self.confidence + self.synchronization
