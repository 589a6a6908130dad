# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `mvreg evaluate` writes and prints."""

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


def metrics_json(summaries: Mapping[str, Summary], parameters: Mapping[str, Value]) -> str:
    """
    Return the content of `metrics.json`.

    `scenes` and `mean` are on the pairs of the benchmark asked for, the first of `summaries`. The
    others follow under their names: one registration of 3DMatch serves 3DLoMatch too.
    """
    (asked, summary), *others = summaries.items()
    metrics = {'benchmark': asked, 'parameters': dict(parameters), **summary, **dict(others)}
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


def table(summary: Summary, title: str) -> str:
    """Return the figures of scenes and their mean, on the pairs of one benchmark, as text."""
    rows = {**summary['scenes'], 'mean': summary['mean']}
    width = max(len(name) for name in [*rows, title])
    lines = [f'{title:{width}}  pairs  rr_pairwise  rr_multiview  coverage'
             '  rotation_deg  translation_m  seconds']
    for name, row in rows.items():
        lines.append(
            f"{name:{width}}  {row['pairs_evaluated']:5d}  {_number(row['rr_pairwise'], 11)}"
            f"  {_number(row['rr_multiview'], 12)}  {_number(row['coverage'], 8)}"
            f"  {_number(row['rotation_deg']['median'], 12, 2)}"
            f"  {_number(row['translation_m']['median'], 13)}"
            f"  {_number(sum(row['seconds'].values()), 7, 1)}")
    return '\n'.join([*lines, 'rotation_deg and translation_m are medians'])


def _number(value: float, width: int, digits: int = 3) -> str:
    return f"{'-' if np.isnan(value) else format(value, f'.{digits}f'):>{width}}"
