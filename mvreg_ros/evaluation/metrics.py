# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The figures of merit: registration recall of 3DMatch, and distributions of relative-pose errors.

Estimates and truth are mappings from a pair (i, j) to T_i_j. A pair without an estimate counts as
a failure in a recall and in the bins of a distribution, and gives no number to its mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mvreg_ros.types import FloatArray
import numpy as np
from scipy.spatial.transform import Rotation

Pair = tuple[int, int]
Transforms = Mapping[Pair, FloatArray]

RECALL_DISTANCE = 0.2
ROTATION_BINS = (3, 5, 10, 30, 45)
TRANSLATION_BINS = (0.05, 0.1, 0.25, 0.5, 0.75)


def squared_error(T_estimate: FloatArray, T_truth: FloatArray, information: FloatArray) -> float:
    """
    Return the mean squared distance (m2) that 3DMatch gives the points in the overlap of a pair.

    information: (6, 6) of `gt.info`. The rotation enters as the vector part of the quaternion,
    half the rotation vector, as in the official evaluation (mrEvaluateRegistration). An all-zero
    information matrix, an error in published files, gives infinity: the pair is a failure.
    """
    if information[0, 0] == 0:
        return np.inf
    E = np.linalg.inv(T_truth) @ T_estimate
    quaternion = Rotation.from_matrix(E[:3, :3]).as_quat(canonical=True)
    e = np.concatenate([E[:3, 3], quaternion[:3]])
    return float(e @ information @ e / information[0, 0])


@dataclass(frozen=True)
class Recall:
    """
    How many pairs were registered; pairs of consecutive fragments are too easy to count.

    correct: pairs with an error of at most 0.2 m. evaluated: pairs of the benchmark. declared:
    pairs with an estimate, of the benchmark or not.
    """

    correct: int
    evaluated: int
    declared: int

    @property
    def recall(self) -> float:
        """Correct among the pairs of the benchmark; NaN where it has none."""
        return self.correct / self.evaluated if self.evaluated else np.nan

    @property
    def precision(self) -> float:
        """Correct among the pairs with an estimate; NaN where there is none."""
        return self.correct / self.declared if self.declared else np.nan


def registration_recall(
    estimates: Transforms, truth: Transforms, information: Transforms,
) -> Recall:
    """Score `estimates` by the protocol of 3DMatch and Redwood (facts in `squared_error`)."""
    evaluated = [pair for pair in truth if not consecutive(pair)]
    correct = sum(
        squared_error(estimates[pair], truth[pair], information[pair]) <= RECALL_DISTANCE ** 2
        for pair in evaluated if pair in estimates)
    declared = sum(not consecutive(pair) for pair in estimates)
    return Recall(correct, len(evaluated), declared)


def consecutive(pair: Pair) -> bool:
    """Return whether the fragments of a pair follow each other, which makes it easy."""
    return abs(pair[0] - pair[1]) <= 1


def coverage(estimates: Transforms, truth: Transforms) -> float:
    """Return the share of the pairs of `truth` that have an estimate; NaN where it has none."""
    return sum(pair in estimates for pair in truth) / len(truth) if truth else np.nan


def relative_errors(estimates: Transforms, truth: Transforms) -> tuple[FloatArray, FloatArray]:
    """
    Return the rotation errors (degrees) and translation errors (m) of the pairs of `truth`.

    Both (P,), infinite where a pair has no estimate.
    """
    rotation = np.full(len(truth), np.inf)
    translation = np.full(len(truth), np.inf)
    rows = [row for row, pair in enumerate(truth) if pair in estimates]
    pairs = [pair for pair in truth if pair in estimates]
    if pairs:
        T = np.stack([estimates[pair] for pair in pairs])
        T_truth = np.stack([truth[pair] for pair in pairs])
        difference = T_truth[:, :3, :3].transpose(0, 2, 1) @ T[:, :3, :3]
        rotation[rows] = np.rad2deg(Rotation.from_matrix(difference).magnitude())
        translation[rows] = np.linalg.norm(T[:, :3, 3] - T_truth[:, :3, 3], axis=1)
    return rotation, translation


def share_right(
    estimates: Transforms, truth: Transforms, degrees: float, metres: float,
) -> float:
    """Return the share of the pairs of `truth` with both errors up to a limit; NaN for none."""
    if not truth:
        return np.nan
    rotation, translation = relative_errors(estimates, truth)
    return float(np.mean((rotation <= degrees) & (translation <= metres)))


def ecdf(errors: FloatArray, bins: Sequence[float]) -> FloatArray:
    """Return the share of `errors` (P,) that lies at or below each of `bins`; NaN for P = 0."""
    if not len(errors):
        return np.full(len(bins), np.nan)
    return np.mean(errors[:, None] <= np.asarray(bins), axis=0)


def distribution(errors: FloatArray, bins: Sequence[float]) -> dict[str, object]:
    """Return the ECDF at `bins` with the mean and the median of the finite `errors`."""
    finite = errors[np.isfinite(errors)]
    return {
        'ecdf': dict(zip(map(str, bins), ecdf(errors, bins).tolist(), strict=True)),
        'mean': float(finite.mean()) if len(finite) else np.nan,
        'median': float(np.median(finite)) if len(finite) else np.nan,
    }
