# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of an evaluation: errors of all pairs, recall by overlap, honesty of confidences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
import io
from typing import Any

from mvreg_ros.evaluation.calibration import BINS, edge_outcomes, reliability
from mvreg_ros.evaluation.metrics import (
    RECALL_DISTANCE,
    relative_errors,
    squared_error,
    Transforms,
)
from mvreg_ros.evaluation.protocol import evaluated_pairs, SceneResult
from mvreg_ros.types import FloatArray, InputError
import numpy as np
from numpy.typing import NDArray

Estimates = Callable[[SceneResult], Transforms]
COLORS = {'pairwise': '#9aa5b1', 'multiview': '#2166ac'}
ESTIMATES: dict[str, Estimates] = {
    'pairwise': lambda result: result.pairwise,
    'multiview': SceneResult.multiview,
}
TRUTHS = {'all_pairs': 'all edges: right within 15° and 0.5 m',
          'listed_pairs': 'edges of listed pairs: right by the 0.2 m of 3DMatch'}
OVERLAP_BINS = np.arange(0.1, 1.01, 0.1)


def require_matplotlib() -> None:
    """Raise InputError where plots cannot be made; said before the work and not after it."""
    if find_spec('matplotlib') is None:
        raise InputError('plots need matplotlib: pip install matplotlib')


def plots(results: Sequence[SceneResult]) -> dict[str, bytes]:
    """Return PNG images by name: what there is no truth for is left out."""
    from matplotlib.figure import Figure

    def drawn(plot: Callable[[Any, Sequence[SceneResult]], None], width: float) -> bytes:
        figure = Figure(figsize=(width, 4), layout='constrained')
        plot(figure, results)
        png = io.BytesIO()
        figure.savefig(png, format='png', dpi=120)
        return png.getvalue()

    images = {'ecdf': drawn(ecdf_plot, 10)}
    if any(result.scene.overlap for result in results):
        images['recall_by_overlap'] = drawn(overlap_plot, 7)
    if edge_outcomes(results):
        images['reliability'] = drawn(reliability_plot, 10)
    return images


def ecdf_plot(figure: Any, results: Sequence[SceneResult]) -> None:
    """Draw the share of evaluated pairs, of all benchmarks, with errors up to x."""
    left, right = figure.subplots(1, 2, sharey=True)
    for name, estimates in ESTIMATES.items():
        errors = [relative_errors(estimates(result), evaluated_pairs(truth))
                  for result in results for truth in result.scene.truth.values()]
        for axes, parts in zip((left, right), zip(*errors, strict=True), strict=True):
            x = np.sort(np.concatenate(parts))
            share = np.arange(len(x) + 1) / max(len(x), 1)
            # Beyond the largest finite error the curve stays where it is.
            x = np.concatenate([[0], np.minimum(x, np.finfo(np.float32).max)])
            axes.step(x, share, where='post', color=COLORS[name], label=name, linewidth=2)
    left.set(xlim=(0, 45), xlabel='rotation error (degrees)', ylabel='share of pairs')
    right.set(xlim=(0, 0.75), xlabel='translation error (m)', ylim=(0, 1))
    for axes in (left, right):
        _tidy(axes)
    right.legend(frameon=False, loc='lower right')


def overlap_plot(figure: Any, results: Sequence[SceneResult]) -> None:
    """Draw the registration recall of pairs of similar overlap."""
    axes = figure.subplots()
    for shift, (name, estimates) in zip((-0.02, 0.02), ESTIMATES.items(), strict=True):
        overlap, correct = overlap_and_success(results, estimates)
        pairs, _ = np.histogram(overlap, OVERLAP_BINS)
        right, _ = np.histogram(overlap[correct], OVERLAP_BINS)
        centers = (OVERLAP_BINS[:-1] + OVERLAP_BINS[1:]) / 2
        axes.bar(centers + shift, right / np.maximum(pairs, 1), 0.04, color=COLORS[name],
                 label=name)
    for center, count in zip(centers, pairs, strict=True):
        axes.text(center, 1.02, str(count), ha='center', fontsize=8, color='#66727f')
    axes.set(xlim=(OVERLAP_BINS[0], 1), ylim=(0, 1.08), ylabel='registration recall',
             xlabel='overlap, with the number of pairs above the bars')
    _tidy(axes)
    figure.legend(frameon=False, loc='outside upper right', ncols=2)


def overlap_and_success(
    results: Sequence[SceneResult], estimates: Estimates,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the overlap of every evaluated pair where it is known, and whether it is right."""
    overlap, correct = [], []
    for result in results:
        found = estimates(result)
        for truth in result.scene.truth.values():
            for pair, T in evaluated_pairs(truth).items():
                if pair in result.scene.overlap:
                    overlap.append(result.scene.overlap[pair])
                    correct.append(pair in found and squared_error(
                        found[pair], T, truth.information[pair]) <= RECALL_DISTANCE ** 2)
    return np.array(overlap, float), np.array(correct, bool)


def reliability_plot(figure: Any, results: Sequence[SceneResult]) -> None:
    """Draw how often edges of similar confidence are right, with their number."""
    kinds = edge_outcomes(results)
    for axes, (kind, outcomes) in zip(
            figure.subplots(1, len(kinds), squeeze=False)[0], kinds.items(), strict=True):
        found = reliability(outcomes)
        centers = (np.arange(BINS) + 0.5) / BINS
        axes.bar(centers, np.nan_to_num(found.right), 0.9 / BINS, color=COLORS['multiview'])
        axes.plot([0, 1], [0, 1], color='#22303c', linewidth=1, linestyle='--', label='honest')
        axes.plot(found.confidence, found.right, 'o', color='#f2a93b', markersize=5,
                  label='mean confidence of a bar')
        for center, count in zip(centers, found.edges.tolist(), strict=True):
            axes.text(center, 1.02, str(count), ha='center', fontsize=8, color='#66727f')
        axes.set(xlim=(0, 1), ylim=(0, 1.08), ylabel='share of edges that are right',
                 xlabel='confidence, with the number of edges above the bars',
                 title=f'{TRUTHS[kind]}\nexpected calibration error '
                       f'{found.expected_calibration_error:.3f}')
        _tidy(axes)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc='outside lower center',
                  ncols=2)


def _tidy(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[['top', 'right']].set_visible(False)
