# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a registration: one HTML page that needs nothing else, not even a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from mvreg_ros import __version__
from mvreg_ros.data.merge import fragment_colors, merged_cloud
from mvreg_ros.evaluation.top_view import top_view
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.parameters import Value
from mvreg_ros.types import Edges, FloatArray, Fragment, Registration, Verdict
import numpy as np
from numpy.typing import NDArray

# What keeps the page small: points in a picture, components shown, rejected edges listed.
POINTS = 40000
COMPONENTS = 6
REJECTED = 2000
BINS = 20
GRID = 15000


def report_html(
    fragments: Sequence[Fragment], registration: Registration, parameters: Mapping[str, Value],
) -> str:
    """Return the page. What came from outside, such as names of frames, is escaped."""
    environment = Environment(
        loader=PackageLoader('mvreg_ros.evaluation', '.'), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined)
    components = [_component(fragments, registration, parameters, label)
                  for label in range(min(registration.component.max(initial=-1) + 1, COMPONENTS))]
    R = components[0]['rotation'] if components else np.eye(3)
    before = _picture(
        np.concatenate([fragment.points for fragment in fragments]) @ R.T,
        np.repeat(np.arange(len(fragments)), [len(fragment.points) for fragment in fragments]))
    edges = registration.edges
    return environment.get_template('report.html').render(
        version=__version__, parameters=parameters, fragments=fragments, edges=edges,
        verdict=Verdict, registration=registration, seconds=registration.seconds,
        placed=int(registration.placed.sum()),
        component_count=int(registration.component.max(initial=-1)) + 1,
        counts={v: int((edges.verdict == v).sum()) for v in Verdict},
        unplaced=[f for f in fragments if not registration.placed[f.id]],
        components=components, histogram=_histogram(edges), rows=_rows(edges),
        grid=GRID, pictures={
            'before': before, **{f'map-{c["label"]}': c['picture'] for c in components}},
        colors=[f'#{r:02x}{g:02x}{b:02x}' for r, g, b in fragment_colors(len(fragments))])


def _component(
    fragments: Sequence[Fragment], registration: Registration, parameters: Mapping[str, Value],
    label: int,
) -> dict[str, Any]:
    """Return what the page shows of a component: its map and its pose graph from above."""
    points, ids = merged_cloud(fragments, registration, float(parameters['voxel_size']), label)
    R = top_view(points)
    members = list(registration.members(label))
    positions = registration.poses[members, :3, 3] @ R.T
    picture = _picture(points @ R.T, ids, positions)
    spots = {id: (x - picture['left'], picture['top'] - y)
             for id, (x, y, _) in zip(members, positions.tolist(), strict=True)}
    edges = registration.edges
    rows = np.flatnonzero(np.isin(edges.i, members) & np.isin(edges.j, members))
    # Rejected edges first, so that they are drawn below the others; the most confident on top.
    order = rows[np.lexsort((edges.confidence[rows], edges.used[rows]))]
    lines = [{'ends': (*spots[int(edges.i[row])], *spots[int(edges.j[row])]),
              'color': confidence_color(edges.confidence[row]), 'edge': _edge(edges, row)}
             for row in order]
    return {'label': label, 'spots': spots, 'lines': lines, 'rotation': R, 'picture': picture}


def _picture(
    points: FloatArray, ids: NDArray[np.int64], also: FloatArray | None = None,
) -> dict[str, Any]:
    """
    Return points (N, 3) in the frame of a top view, thinned, for a canvas of the page.

    left, top, width, height: the borders, metres; points `also` (M, 3) lie within them too. xy:
    right and down from the corner, in parts of the longer side, 1 / GRID.
    """
    rows = np.random.default_rng(0).permutation(len(points))[:POINTS]
    points, ids = points[rows, :2], ids[rows]
    # A stray point must not shrink the picture to a dot.
    corners = np.percentile(points, [0.1, 99.9], axis=0) if len(points) else np.zeros((2, 2))
    corners = np.concatenate([corners, *([] if also is None else [also[:, :2]])])
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.03 * max(*(high - low), 0.01)
    (left, bottom), (right, top) = low - margin, high + margin
    longer = max(right - left, top - bottom)
    grid = np.column_stack([points[:, 0] - left, top - points[:, 1]]) / longer * GRID
    return {'left': float(left), 'top': float(top), 'width': float(right - left),
            'height': float(top - bottom), 'ids': _base64(ids.astype('<u2')),
            'xy': _base64(np.clip(grid, -GRID, 2 * GRID).astype('<i2'))}


def _base64(array: NDArray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _edge(edges: Edges, row: int) -> dict[str, Any]:
    T = edges.T_i_j[row]
    return {'i': int(edges.i[row]), 'j': int(edges.j[row]), 'verdict': str(edges.verdict[row]),
            'confidence': float(edges.confidence[row]), 'inliers': int(edges.inliers[row]),
            'reason': str(edges.reason[row]), 'distance': float(np.linalg.norm(T[:3, 3])),
            'angle': float(np.degrees(rotation_angle(T[:3, :3])))}


def _rows(edges: Edges) -> list[dict[str, Any]]:
    """Return the used edges, and the most confident of the rejected ones."""
    order = np.lexsort((-edges.confidence, ~edges.used))
    return [_edge(edges, row) for row in order[:int(edges.used.sum()) + REJECTED]]


def _histogram(edges: Edges) -> list[dict[str, Any]]:
    """Return the used and rejected edges in bins of confidence, with shares of the fullest bin."""
    used, borders = np.histogram(edges.confidence[edges.used], BINS, (0, 1))
    pruned, _ = np.histogram(edges.confidence[~edges.used], BINS, (0, 1))
    fullest = max(1, (used + pruned).max())
    return [{'low': low, 'used': int(u), 'pruned': int(p), 'used_share': u / fullest,
             'pruned_share': p / fullest}
            for low, u, p in zip(borders, used, pruned, strict=False)]


def confidence_color(confidence: float) -> str:
    """Return red for 0 over amber to blue for 1, which the colour-blind can tell apart too."""
    stops = np.array([[215, 48, 31], [242, 169, 59], [33, 102, 172]])
    color = [float(np.interp(confidence, [0, 0.5, 1], stops[:, k])) for k in range(3)]
    return '#' + ''.join(f'{round(value):02x}' for value in color)
