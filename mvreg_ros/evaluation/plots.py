# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of an evaluation: errors of all pairs, and recall by overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
import io
from pathlib import Path
from typing import Any

import numpy as np

from mvreg_ros.data.files import write_atomic
from mvreg_ros.evaluation.metrics import (
    RECALL_DISTANCE,
    relative_errors,
    squared_error,
    Transforms,
)
from mvreg_ros.evaluation.protocol import (
    evaluated_pairs,
    multiview_estimates,
    pairwise_estimates,
    SceneResult,
)
from mvreg_ros.types import FloatArray, InputError, Registration

ESTIMATES: dict[str, tuple[str, Callable[[Registration], Transforms]]] = {
    'pairwise': ('#9aa5b1', pairwise_estimates),
    'multiview': ('#2166ac', multiview_estimates),
}
OVERLAP_BINS = np.arange(0.1, 1.01, 0.1)


def require_matplotlib() -> None:
    """Raise InputError where plots cannot be made; said before the work and not after it."""
    if find_spec('matplotlib') is None:
        raise InputError('plots need matplotlib: pip install matplotlib')


def save_plots(folder: Path, results: Sequence[SceneResult]) -> None:
    """Write ecdf.png and, where overlaps are known, recall_by_overlap.png into `folder`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout='constrained')
    ecdf_plot(figure, results)
    _save(figure, folder / 'ecdf.png')
    if any(result.scene.overlap for result in results):
        figure = Figure(figsize=(7, 4), layout='constrained')
        overlap_plot(figure, results)
        _save(figure, folder / 'recall_by_overlap.png')


def ecdf_plot(figure: Any, results: Sequence[SceneResult]) -> None:
    """Draw the share of pairs, of all benchmarks, with errors up to x."""
    left, right = figure.subplots(1, 2, sharey=True)
    for name, (color, estimates) in ESTIMATES.items():
        rotation, translation = all_errors(results, estimates)
        for axes, errors in ((left, rotation), (right, translation)):
            share = np.arange(1, len(errors) + 1) / max(len(errors), 1)
            axes.step(np.sort(errors), share, where='post', color=color, label=name, linewidth=2)
    left.set(xlim=(0, 45), xlabel='rotation error (degrees)', ylabel='share of pairs')
    right.set(xlim=(0, 0.75), xlabel='translation error (m)', ylim=(0, 1))
    for axes in (left, right):
        _tidy(axes)
    right.legend(frameon=False, loc='lower right')


def overlap_plot(figure: Any, results: Sequence[SceneResult]) -> None:
    """Draw the registration recall of pairs with similar overlap."""
    axes = figure.subplots()
    for shift, (name, (color, estimates)) in zip((-0.02, 0.02), ESTIMATES.items(), strict=True):
        overlap, correct = overlap_and_success(results, estimates)
        row = np.digitize(overlap, OVERLAP_BINS) - 1
        for k, start in enumerate(OVERLAP_BINS[:-1]):
            if (row == k).any():
                axes.bar(start + 0.05 + shift, correct[row == k].mean(), 0.04, color=color,
                         label=name)
                if shift > 0:
                    axes.text(start + 0.05, 1.02, f'{(row == k).sum()}', ha='center', fontsize=8)
    axes.set(xlim=(0.1, 1), ylim=(0, 1.1), xlabel='overlap (pairs above the bars)',
             ylabel='registration recall')
    _tidy(axes)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), frameon=False, loc='lower right')


def all_errors(
    results: Sequence[SceneResult], estimates: Callable[[Registration], Transforms],
) -> tuple[FloatArray, FloatArray]:
    """Return the rotation (degrees) and translation (m) errors of all evaluated pairs."""
    errors = [relative_errors(estimates(result.registration), evaluated_pairs(truth))
              for result in results for truth in result.scene.truth.values()]
    rotation, translation = zip(*errors, strict=True)
    return np.concatenate(rotation), np.concatenate(translation)


def overlap_and_success(
    results: Sequence[SceneResult], estimates: Callable[[Registration], Transforms],
) -> tuple[FloatArray, FloatArray]:
    """Return the overlap of every evaluated pair where it is known, and whether it is right."""
    rows = []
    for result in results:
        found = estimates(result.registration)
        for truth in result.scene.truth.values():
            for pair, T in evaluated_pairs(truth).items():
                if pair in result.scene.overlap:
                    right = pair in found and squared_error(
                        found[pair], T, truth.information[pair]) <= RECALL_DISTANCE ** 2
                    rows.append((result.scene.overlap[pair], right))
    overlap, correct = np.array(rows, float).reshape(-1, 2).T
    return overlap, correct


def _tidy(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[['top', 'right']].set_visible(False)


def _save(figure: Any, path: Path) -> None:
    png = io.BytesIO()
    figure.savefig(png, format='png', dpi=120)
    write_atomic(path, png.getvalue())
