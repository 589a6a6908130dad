# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `mvreg evaluate` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.data.logs import write_log
from mvreg_ros.evaluation.plots import save_plots
from mvreg_ros.evaluation.protocol import SceneResult, Summary
from mvreg_ros.parameters import Value
import numpy as np


def benchmarks_of(results: Sequence[SceneResult], asked: str) -> list[str]:
    """Return the benchmarks that all scenes have a truth for, the one asked for first."""
    known = [set(result.scene.truth) for result in results]
    return [asked, *sorted(set.intersection(*known) - {asked})]


def metrics_json(
    summaries: Mapping[str, Summary], maps: Summary, parameters: Mapping[str, Value],
) -> str:
    """
    Return the content of `metrics.json`.

    `scenes`, `mean` and `pooled` are on the pairs of the benchmark asked for, the first of
    `summaries`, `scenes` and `mean` with the figures of the maps besides. The other benchmarks
    follow under their names: one registration of 3DMatch serves 3DLoMatch too.
    """
    (asked, summary), *others = summaries.items()
    scenes = {name: {**figures, **maps['scenes'][name]}
              for name, figures in summary['scenes'].items()}
    metrics = {
        'benchmark': asked, 'parameters': dict(parameters), 'scenes': scenes,
        'mean': {**summary['mean'], **maps['mean']}, 'pooled': summary['pooled'], **dict(others)}
    return json.dumps(_without_nan(metrics), indent=1)


def write_evaluation(folder: Path, results: Sequence[SceneResult], metrics: str) -> None:
    """Write metrics.json, edges/SCENE.log (kept), multiview/SCENE.log (i < j) and the plots."""
    write_atomic(folder / 'metrics.json', metrics)
    for name in ('edges', 'multiview'):
        (folder / name).mkdir()
    for result in results:
        name, count = f'{result.scene.name}.log', result.scene.count
        write_log(folder / 'edges' / name, count, result.kept())
        write_log(folder / 'multiview' / name, count, result.multiview())
    save_plots(folder, results)


def _without_nan(value: object) -> object:
    """Return `value` with null for every NaN, which JSON does not know."""
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
