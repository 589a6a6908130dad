# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tables that `mvreg evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mvreg_ros.evaluation.protocol import Figures, Summary
import numpy as np

Cells = dict[str, str]


def table(summary: Summary, title: str) -> str:
    """Return the figures of scenes and their mean, on the pairs of one benchmark."""
    rows = {name: _benchmark_cells(row) for name, row in _rows(summary).items()}
    return (f'{_aligned(title, rows)}\n'
            'rr: recall by the 0.2 m of 3DMatch; 15deg_30cm: multiview recall by that definition; '
            'rotation_deg, translation_m: medians')


def map_table(maps: Summary) -> str:
    """Return the figures of the maps, which belong to no single benchmark."""
    rows = {name: _map_cells(row) for name, row in _rows(maps).items()}
    return (f'{_aligned("map", rows)}\n'
            'all_pairs, within_component: right within 15 degrees and 0.5 m; '
            'listed: pairs of all benchmarks')


def ecdf_table(summary: Summary, title: str) -> str:
    """Return the distributions of Tab. 3 of the paper, over all pairs and as means over scenes."""
    figures = {
        f'{over}, {estimates}': summary[over] if estimates == 'multiview'
        else summary[over]['pairwise']
        for over in ('pooled', 'mean') for estimates in ('pairwise', 'multiview')}
    return '\n'.join(
        _aligned(f'{title}, {name}', {row: _ecdf_cells(f[name]) for row, f in figures.items()})
        for name in ('rotation_deg', 'translation_m'))


def calibration_table(calibration: Mapping[str, Any]) -> str:
    """Return how often edges of similar confidence are right, over all scenes."""
    return '\n'.join(
        _aligned(f'confidence, {kind}', {
            f"{row['from']:.1f} to {row['from'] + 1 / len(found['bins']):.1f}": {
                'edges': str(row['edges']), 'mean': number(row['confidence']),
                'right': number(row['right'])}
            for row in found['bins']})
        + f"\nexpected calibration error {number(found['expected_calibration_error'])}"
        for kind, found in calibration['pooled'].items())


def _rows(summary: Summary) -> Mapping[str, Figures]:
    return {**summary['scenes'], 'mean': summary['mean']}


def _benchmark_cells(row: Figures) -> Cells:
    return {
        'pairs': str(row['pairs_evaluated']),
        'rr_pairwise': number(row['rr_pairwise']),
        'rr_multiview': number(row['rr_multiview']),
        '15deg_30cm': number(row['recall_15deg_30cm']['multiview']),
        'coverage': number(row['coverage']),
        'rotation_deg': number(row['rotation_deg']['median'], 2),
        'translation_m': number(row['translation_m']['median']),
        'seconds': number(sum(row['seconds'].values()), 1),
    }


def _map_cells(row: Figures) -> Cells:
    return {
        'all_pairs': number(row['all_pairs']),
        'within_component': number(row['within_component']),
        'listed': str(row['listed']['pairs_evaluated']),
        '< 3 deg': number(row['listed']['rotation_deg']['ecdf']['3']),
        '< 10 cm': number(row['listed']['translation_m']['ecdf']['0.1']),
    }


def _ecdf_cells(row: Figures) -> Cells:
    bins = {f'< {bin}': number(share) for bin, share in row['ecdf'].items()}
    return {**bins, 'mean': number(row['mean'], 2), 'median': number(row['median'], 2)}


def _aligned(title: str, rows: Mapping[str, Cells]) -> str:
    """Return rows of cells, the columns as wide as what is in them."""
    headings = list(next(iter(rows.values())))
    lines = [[title, *headings], *([name, *row.values()] for name, row in rows.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join(
        '  '.join([line[0].ljust(widths[0]),
                   *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        for line in lines)


def number(value: float, digits: int = 3) -> str:
    """Return a figure as text, '-' for NaN."""
    return '-' if np.isnan(value) else format(value, f'.{digits}f')
