# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The columns that all tables of accuracy have: means over scenes, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mvreg_ros.evaluation.protocol import SceneResult, summarize, summarize_maps
from mvreg_ros.evaluation.tables import number
import numpy as np

HEADINGS = (
    '3DMatch pairwise', 'multiview', '3DLoMatch pairwise', 'multiview', 'all pairs',
    'within component', 'rotation < 3°', 'translation < 10 cm',
)


def accuracy_cells(scenes: Sequence[SceneResult]) -> list[str]:
    """
    Return the cells below `HEADINGS`.

    Recalls are by the 0.2 m of 3DMatch, '-' where no scene has that list; all pairs, and those
    within a component, are right within 15 degrees and 0.5 m; the last two are over the pairs of
    both lists.
    """
    maps = summarize_maps(scenes)['mean']
    listed = maps['listed']
    recalls = [*mean_recalls(scenes, '3dmatch'), *mean_recalls(scenes, '3dlomatch')]
    shares = [
        maps['all_pairs'], maps['within_component'],
        listed['rotation_deg']['ecdf']['3'], listed['translation_m']['ecdf']['0.1'],
    ]
    return [number(value) for value in recalls + shares]


def mean_recalls(scenes: Sequence[SceneResult], benchmark: str) -> tuple[float, float]:
    """Return the recalls before and after synchronisation, NaN where no scene has that list."""
    if not any(benchmark in result.scene.truth for result in scenes):
        return np.nan, np.nan
    means = summarize(scenes, benchmark)['mean']
    return means['rr_pairwise'], means['rr_multiview']


def markdown(headings: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Return a table; the first heading is that of the names of the rows."""
    lines = [headings, ['---'] * len(headings), *([name, *cells] for name, cells in rows.items())]
    return ''.join(f"| {' | '.join(cells)} |\n" for cells in lines)


def accuracy_table(title: str, results: Mapping[str, Sequence[SceneResult]]) -> str:
    """Return a table with a row for each of some ways to register the same scenes."""
    return markdown((title, *HEADINGS), {
        name: accuracy_cells(scenes) for name, scenes in results.items()})
