# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The protocols of the paper's tables: what a registration of a scene is worth.

Figures are over the evaluated pairs of a scene, those of the benchmark whose fragments are not
consecutive, or for ScanNet, which has no recall, all pairs of views. Two definitions of a recall
are in use and differ by points: `rr_*` is the official one of 3DMatch, 0.2 m in the norm of
`gt.info`; `recall_15deg_30cm` is that of DGR and its followers, over all pairs of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
import resource
import sys
from typing import Any

from mvreg_ros.data.scenes import GroundTruth, Scene
from mvreg_ros.evaluation.all_pairs import map_figures
from mvreg_ros.evaluation.metrics import (
    consecutive,
    coverage,
    distribution,
    Pair,
    registration_recall,
    relative_errors,
    ROTATION_BINS,
    share_right,
    Transforms,
    TRANSLATION_BINS,
)
from mvreg_ros.types import FloatArray, Registration
import numpy as np

# The figures of a scene by name, some of them by name again; and those of all scenes.
Figures = dict[str, Any]
Summary = dict[str, Any]

# In the mean over scenes these are totals and maxima.
TOTALS = ('pairs_evaluated',)
MAXIMA = ('peak_memory_mb',)


@dataclass(frozen=True)
class SceneResult:
    """
    A registered scene.

    pairwise: T_i_j by pair as they were before synchronisation; the edges of the registration are
    refined with its help. peak_memory_mb: of the process, up to the end of this scene.
    """

    scene: Scene
    registration: Registration
    pairwise: dict[Pair, FloatArray]
    peak_memory_mb: float

    def kept(self) -> dict[Pair, FloatArray]:
        """Return the pairwise estimates of the edges that were used, where they have one."""
        edges = self.registration.edges.select(self.registration.edges.used)
        pairs = zip(edges.i.tolist(), edges.j.tolist(), strict=True)
        return {pair: self.pairwise[pair] for pair in pairs if pair in self.pairwise}

    def multiview(self) -> dict[Pair, FloatArray]:
        """Return T_i_j implied by the poses, for all i < j of one component."""
        pairs = combinations(range(len(self.registration.poses)), 2)
        relative = {(i, j): self.registration.relative(i, j) for i, j in pairs}
        return {pair: T for pair, T in relative.items() if T is not None}


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def evaluated_pairs(truth: GroundTruth) -> dict[Pair, FloatArray]:
    """Return T_i_j of the pairs that are scored."""
    return {pair: T for pair, T in truth.T_i_j.items()
            if not truth.information or not consecutive(pair)}


def score(result: SceneResult, truth: GroundTruth) -> Figures:
    """
    Return the figures of a scene, by the names of `metrics.json`.

    rr_pairwise, rr_multiview: registration recall of the pairwise estimates before
    synchronisation and of the poses. recall_15deg_30cm: the other definition. coverage: share of
    pairs in one component. rotation_deg, translation_m: errors of the poses; a pair across
    components is in no bin. pairwise: errors before synchronisation.
    """
    multiview = result.multiview()
    pairs = evaluated_pairs(truth)
    return {
        'rr_pairwise': recall(result.pairwise, truth),
        'rr_multiview': recall(multiview, truth),
        'recall_15deg_30cm': {
            'pairwise': share_right(result.pairwise, truth.T_i_j, 15.0, 0.3),
            'multiview': share_right(multiview, truth.T_i_j, 15.0, 0.3),
        },
        'coverage': coverage(multiview, pairs),
        **distributions(*relative_errors(multiview, pairs)),
        'pairwise': distributions(*relative_errors(result.pairwise, pairs)),
        'pairs_evaluated': len(pairs),
        'seconds': result.registration.seconds,
        'peak_memory_mb': result.peak_memory_mb,
    }


def distributions(rotation: FloatArray, translation: FloatArray) -> Figures:
    """Return the distributions of errors, degrees and metres, in the bins of the paper."""
    return {'rotation_deg': distribution(rotation, ROTATION_BINS),
            'translation_m': distribution(translation, TRANSLATION_BINS)}


def recall(estimates: Transforms, truth: GroundTruth) -> float:
    """Return the registration recall, NaN for a benchmark without information matrices."""
    if not truth.information:
        return np.nan
    return registration_recall(estimates, truth.T_i_j, truth.information).recall


def mean(scores: Sequence[Figures]) -> Figures:
    """
    Return the mean over scenes of every figure, at every depth; NaN is left out.

    The mean of medians is the mean over scenes too. pairs_evaluated is the sum, peak_memory_mb the
    maximum.
    """
    result: Figures = {}
    for name in scores[0]:
        values = [scene[name] for scene in scores]
        if isinstance(values[0], dict):
            result[name] = mean(values)
            continue
        numbers = np.array(values, float)
        finite = numbers[np.isfinite(numbers)]
        if name in TOTALS:
            result[name] = int(numbers.sum())
        elif name in MAXIMA:
            result[name] = float(numbers.max())
        else:
            result[name] = float(finite.mean()) if len(finite) else np.nan
    return result


def pooled(results: Sequence[SceneResult], benchmark: str) -> Figures:
    """Return the distributions over the evaluated pairs of all scenes together."""
    def over(estimates: Callable[[SceneResult], Transforms]) -> Figures:
        errors = [
            relative_errors(estimates(result), evaluated_pairs(result.scene.truth[benchmark]))
            for result in results]
        rotation, translation = zip(*errors, strict=True)
        return distributions(np.concatenate(rotation), np.concatenate(translation))

    return {**over(SceneResult.multiview), 'pairwise': over(lambda result: result.pairwise)}


def summarize(results: Sequence[SceneResult], benchmark: str) -> Summary:
    """
    Return {'scenes': {name: figures}, 'mean': figures, 'pooled': figures} on one benchmark.

    The mean gives each scene the same weight, pooled each pair; published tables have either.
    """
    scored = [result for result in results if benchmark in result.scene.truth]
    scenes = {result.scene.name: score(result, result.scene.truth[benchmark])
              for result in scored}
    return {'scenes': scenes, 'mean': mean(list(scenes.values())),
            'pooled': pooled(scored, benchmark)}


def summarize_maps(results: Sequence[SceneResult]) -> Summary:
    """Return {'scenes': {name: figures}, 'mean': figures} of the maps, see `map_figures`."""
    scenes = {result.scene.name: map_figures(result.multiview(), result.scene)
              for result in results}
    return {'scenes': scenes, 'mean': mean(list(scenes.values()))}
