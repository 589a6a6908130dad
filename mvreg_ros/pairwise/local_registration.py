# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Registration of a pair whose motion is nearly known: surfaces, held by what is known.

Surfaces alone slide along walls, and where little is seen of them they stray. What is known of the
motion beforehand joins the sum of squares as one more term, so that it decides where surfaces do
not (point to plane, Chen and Medioni, 1991, with a prior).
"""

from __future__ import annotations

import gtsam
from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.multiview.se3 import ROTATION_FIRST
from mvreg_ros.pairwise.fine_registration import (
    double,
    MAX_POINTS,
    MIN_COSINE,
    motion,
    moved,
    residual_weights,
)
from mvreg_ros.types import FloatArray, FragmentFeatures
import numpy as np
from scipy.spatial import cKDTree

ROUNDS = 4  # for each of the reaches
# Of a point to the surface of the other fragment, in voxels. Neighbours err in common: the more
# points, the less each of them says anew.
SURFACE_SIGMA = 4.0
# How far apart two views of one surface may be for that, in voxels: in simulated flats they are
# 0.3 voxels apart where the motion is right, and less than 0.45 in 95 of 100 pairs.
SPREAD = 0.4


def local_registration(
    T_i_j: FloatArray, information: FloatArray, features_i: FragmentFeatures,
    features_j: FragmentFeatures, voxel_size: float, reaches: tuple[float, ...],
) -> tuple[FloatArray, FloatArray]:
    """
    Return T_i_j (4, 4) after a look at the surfaces of both fragments, and their information.

    T_i_j, information (6, 6): what is known before, as in `Edges`; that of the surfaces (6, 6) is
    without it. voxel_size: metres. reaches: metres up to which surfaces are drawn to each other,
    one after the other.
    """
    points_i, normals_i = double(features_i.points), double(features_i.normals)
    step = 1 + len(features_j.points) // MAX_POINTS
    points_j, normals_j = double(features_j.points[::step]), double(features_j.normals[::step])
    tree = cKDTree(points_i)
    T = T_i_j
    for reach in np.repeat(reaches, ROUNDS):
        raise_if_cancelled()
        there = moved(T, points_j)
        distance, nearest = tree.query(there, distance_upper_bound=reach)
        rows = np.flatnonzero(np.isfinite(distance))
        facing = normals_i[nearest[rows]] @ T[:3, :3]  # in the frame of j
        alike = (normals_j[rows] * facing).sum(1) > MIN_COSINE
        rows, n = rows[alike], facing[alike]
        off = ((there[rows] - points_i[nearest[rows]]) @ T[:3, :3] * n).sum(1)
        J = np.concatenate([n, np.cross(points_j[rows], n)], 1)
        weight = residual_weights(distance[rows], reach)
        spread = np.sqrt(weight @ np.square(off) / max(weight.sum(), 1.0))
        weight *= step / (SURFACE_SIGMA * max(voxel_size, spread / SPREAD))**2
        strayed = gtsam.Pose3(T_i_j).localCoordinates(gtsam.Pose3(T))[ROTATION_FIRST]
        H = information + J.T @ (weight[:, None] * J)
        pull = information @ strayed + J.T @ (weight * off)
        T = T @ motion(-np.linalg.solve(H, pull))
    m = normals_j[rows]  # of the same surfaces as n, by the other fragment
    K = np.concatenate([m, np.cross(points_j[rows], m)], 1)
    return T, learnt(J, K, weight)


def learnt(J: FloatArray, K: FloatArray, weight: FloatArray) -> FloatArray:
    """
    Return the information (6, 6) in surfaces that meet.

    J, K: (N, 6) derivatives of the distances of N points by the motion, with the normals of the
    one fragment and of the other. weight: (N,). Normals err, and in the squares of J their errors
    look like shape: a rough wall seems to fix a motion along it. Those of two fragments err each
    for itself, so that they cancel in the products of J and K.
    """
    product = J.T @ (weight[:, None] * K)
    value, axes = np.linalg.eigh((product + product.T) / 2)
    return (axes * np.clip(value, 0, None)) @ axes.T
