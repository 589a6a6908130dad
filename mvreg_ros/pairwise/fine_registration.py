# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The last centimetres of a pair: its matches and its surfaces have to fit together.

Matches are as coarse as the keypoints are dense; surfaces alone slide along walls (point to plane,
Chen and Medioni, 1991). Gauss-Newton on the sum of both has neither fault.
"""

from __future__ import annotations

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.pairwise.information import correspondence_information
from mvreg_ros.pairwise.procrustes import residuals
from mvreg_ros.types import Correspondences, FloatArray, FragmentFeatures
import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
import torch

# Inlier distances up to which surfaces are drawn to each other, round after round; before these,
# those for poses with so few inliers that they may be off by more than one of them somewhere.
DISTANCES = (1.5, 1.0, 1.0, 0.7)
FIRST_OF_FEW = (3.0, 2.0)
FEW_INLIERS = 30
MIN_COSINE = 0.7  # between normals of one surface
# What a point on a surface counts beside a match: neighbours on one surface err in common.
SURFACE_WEIGHT = 0.2
# Fewer points on common surfaces say nothing; more than so many say nothing new.
MIN_POINTS, MAX_POINTS = 30, 2000


def fine_registration(
    T_i_j: FloatArray, pair: Correspondences, features_i: FragmentFeatures,
    features_j: FragmentFeatures, inlier_distance: float,
) -> FloatArray:
    """
    Return T_i_j (4, 4) improved; as it was where surfaces do not meet or draw it from its matches.

    T_i_j: off by less than about an inlier distance (m), or two where it has few inliers.
    """
    points_i, normals_i = double(features_i.points), double(features_i.normals)
    step = 1 + len(features_j.points) // MAX_POINTS
    points_j, normals_j = double(features_j.points[::step]), double(features_j.normals[::step])
    matched_i, matched_j = double(pair.points_i), double(pair.points_j)
    tree = cKDTree(points_i)
    T = T_i_j
    before = inliers(T_i_j, pair, inlier_distance)
    for reach in DISTANCES if before >= FEW_INLIERS else (*FIRST_OF_FEW, *DISTANCES):
        raise_if_cancelled()
        p, turned = moved(T, points_j), normals_j @ T[:3, :3].T
        distance, nearest = tree.query(p, distance_upper_bound=reach * inlier_distance)
        rows = np.flatnonzero(np.isfinite(distance))
        rows = rows[(turned[rows] * normals_i[nearest[rows]]).sum(1) > MIN_COSINE]
        if len(rows) < MIN_POINTS:
            return T_i_j
        p, n = p[rows], normals_i[nearest[rows]]
        off = ((p - points_i[nearest[rows]]) * n).sum(1)
        weight = SURFACE_WEIGHT * step * residual_weights(distance[rows], reach * inlier_distance)
        J = np.concatenate([n, np.cross(p, n)], 1)
        q = moved(T, matched_j)
        error = q - matched_i
        agree = residual_weights(np.linalg.norm(error, axis=1), inlier_distance)
        matches = correspondence_information(torch.from_numpy(q), torch.from_numpy(agree), 1.0)
        H = J.T @ (weight[:, None] * J) + matches.numpy()
        pull = np.concatenate([error, np.cross(q, error)], 1)
        T = motion(-np.linalg.lstsq(H, J.T @ (weight * off) + agree @ pull, rcond=None)[0]) @ T
    return T if 2 * inliers(T, pair, inlier_distance) >= before else T_i_j


def inliers(T_i_j: FloatArray, pair: Correspondences, distance: float) -> int:
    """Return how many matches agree with a pose within a distance, metres."""
    T = torch.from_numpy(T_i_j).to(pair.points_i)
    return int((residuals(T, pair.points_j, pair.points_i) < distance).sum())


def residual_weights(residual: FloatArray, reach: float) -> FloatArray:
    """Return weights that fall from 1 to 0 where the residual reaches `reach`, as psi_iter's."""
    return np.clip(1 - np.square(residual / reach), 0, None)


def moved(T: FloatArray, points: FloatArray) -> FloatArray:
    """Return the points (N, 3) moved by T (4, 4)."""
    return points @ T[:3, :3].T + T[:3, 3]


def motion(twist: FloatArray) -> FloatArray:
    """Return T (4, 4) of a translation (m) and a rotation vector (rad), (6,)."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(twist[3:]).as_matrix()
    T[:3, 3] = twist[:3]
    return T


def double(x: torch.Tensor) -> FloatArray:
    """Return a tensor as float64 on the CPU, where what is small and delicate is done."""
    return x.cpu().numpy().astype(np.float64)
