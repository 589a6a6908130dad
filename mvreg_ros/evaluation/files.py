# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `mvreg evaluate` writes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

from mvreg_ros.data.files import write_atomic
from mvreg_ros.data.logs import write_log
from mvreg_ros.evaluation.plots import plots
from mvreg_ros.evaluation.protocol import SceneResult, Summary
from mvreg_ros.parameters import Value
from mvreg_ros.report.page import page
import numpy as np


def benchmarks_of(results: Sequence[SceneResult], asked: str) -> list[str]:
    """Return the benchmarks that all scenes have a truth for, the one asked for first."""
    known = [set(result.scene.truth) for result in results]
    return [asked, *sorted(set.intersection(*known) - {asked})]


def write_evaluation(
    folder: Path, results: Sequence[SceneResult], metrics: str, tables: Sequence[str],
    parameters: Mapping[str, Value],
) -> None:
    """
    Write the figures, the estimates and the pictures of an evaluation into a folder.

    metrics.json; edges/SCENE.log, the pairwise estimates that were kept; multiview/SCENE.log, what
    the poses imply for i < j; report.html with the tables and the plots, which are PNGs besides.
    """
    write_atomic(folder / 'metrics.json', metrics)
    for name in ('edges', 'multiview'):
        (folder / name).mkdir()
    for result in results:
        name, count = f'{result.scene.name}.log', result.scene.count
        write_log(folder / 'edges' / name, count, result.kept())
        write_log(folder / 'multiview' / name, count, result.multiview())
    pictures = plots(results)
    for name, png in pictures.items():
        write_atomic(folder / f'{name}.png', png)
    write_atomic(folder / 'report.html', page(
        'evaluation.html', title=f'Evaluation of {len(results)} scenes', tables=tables,
        parameters=parameters, pictures={
            name.replace('_', ' '): base64.b64encode(png).decode()
            for name, png in pictures.items()}))


def metrics_json(
    summaries: Mapping[str, Summary], maps: Summary, calibration: Mapping[str, Any],
    parameters: Mapping[str, Value],
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
        'mean': {**summary['mean'], **maps['mean']}, 'pooled': summary['pooled'],
        'calibration': calibration, **dict(others)}
    return json.dumps(_without_nan(metrics), indent=1)


def _without_nan(value: object) -> object:
    """Return `value` with null for every NaN, which JSON does not know."""
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
