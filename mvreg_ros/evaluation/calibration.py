# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Does the confidence of an edge mean something: with 0.9, nine in ten should be right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mvreg_ros.evaluation.all_pairs import DEGREES, METRES, true_pairs
from mvreg_ros.evaluation.metrics import (
    Pair,
    RECALL_DISTANCE,
    relative_errors,
    squared_error,
)
from mvreg_ros.evaluation.protocol import SceneResult
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Outcomes:
    """Edges with a known truth. confidence: (E,) in [0, 1]. right: (E,) bool."""

    confidence: FloatArray
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class Reliability:
    """
    A reliability diagram (Guo et al. 2017, "On calibration of modern neural networks").

    edges: (B,) in equal bins of confidence from 0 to 1. confidence: (B,) their mean. right: (B,)
    share of them. Both are NaN for an empty bin.
    """

    edges: NDArray[np.int64]
    confidence: FloatArray
    right: FloatArray

    @property
    def expected_calibration_error(self) -> float:
        """Return the mean over edges of how far a bin's confidence is off; NaN without edges."""
        if not self.edges.sum():
            return np.nan
        full = self.edges > 0
        off = np.abs(self.confidence[full] - self.right[full])
        return float(np.average(off, weights=self.edges[full]))

    def figures(self) -> dict[str, Any]:
        """Return the numbers for `metrics.json`."""
        low = np.arange(len(self.edges)) / len(self.edges)
        columns = zip(low.round(6).tolist(), self.edges.tolist(), self.confidence.tolist(),
                      self.right.tolist(), strict=True)
        return {
            'edges': int(self.edges.sum()),
            'expected_calibration_error': self.expected_calibration_error,
            'bins': [{'from': low, 'edges': edges, 'confidence': confidence, 'right': right}
                     for low, edges, confidence, right in columns],
        }


def reliability(outcomes: Outcomes) -> Reliability:
    """Return the diagram of some edges; a confidence of 1 belongs to the last bin."""
    rows = np.minimum((outcomes.confidence * BINS).astype(np.int64), BINS - 1)
    edges = np.bincount(rows, minlength=BINS)
    share = np.where(edges > 0, edges, np.nan)
    return Reliability(
        edges, np.bincount(rows, outcomes.confidence, BINS) / share,
        np.bincount(rows, outcomes.right, BINS) / share)


def edge_outcomes(results: Sequence[SceneResult]) -> dict[str, Outcomes]:
    """
    Return the edges of some scenes by what they are held against; nothing that has no truth.

    all_pairs: edges between any fragments of known poses, right within 15 degrees and 0.5 m.
    listed_pairs: those of the pairs of benchmarks, right by the 0.2 m of 3DMatch.
    """
    found: dict[str, list[tuple[FloatArray, NDArray[np.bool_]]]] = {}
    for result in results:
        edges = result.registration.edges
        keys = list(zip(edges.i.tolist(), edges.j.tolist(), strict=True))
        confidence = dict(zip(keys, edges.confidence.tolist(), strict=True))
        T_i_j = dict(zip(keys, edges.T_i_j, strict=True))
        for name, right in (('all_pairs', _near(result, T_i_j)),
                            ('listed_pairs', _by_protocol(result, T_i_j))):
            if right:
                found.setdefault(name, []).append((
                    np.array([confidence[pair] for pair in right]),
                    np.array(list(right.values()), bool)))
    return {name: Outcomes(*map(np.concatenate, zip(*parts, strict=True)))
            for name, parts in found.items()}


def calibration(results: Sequence[SceneResult]) -> dict[str, Any]:
    """Return {'scenes': {name: figures}, 'pooled': figures}, figures by kind of truth."""
    def figures(some: Sequence[SceneResult]) -> dict[str, Any]:
        return {kind: reliability(outcomes).figures()
                for kind, outcomes in edge_outcomes(some).items()}

    return {'scenes': {result.scene.name: figures([result]) for result in results},
            'pooled': figures(results)}


def _near(result: SceneResult, T_i_j: dict[Pair, FloatArray]) -> dict[Pair, bool]:
    truth = {pair: T for pair, T in true_pairs(result.scene).items() if pair in T_i_j}
    rotation, translation = relative_errors(T_i_j, truth)
    right = (rotation <= DEGREES) & (translation <= METRES)
    return dict(zip(truth, right.tolist(), strict=True))


def _by_protocol(result: SceneResult, T_i_j: dict[Pair, FloatArray]) -> dict[Pair, bool]:
    return {
        pair: squared_error(T_i_j[pair], T, truth.information[pair]) <= RECALL_DISTANCE ** 2
        for truth in result.scene.truth.values() if truth.information
        for pair, T in truth.T_i_j.items() if pair in T_i_j}
