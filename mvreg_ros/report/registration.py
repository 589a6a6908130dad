# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a registration: its maps, its pose graph, and why each edge was used or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mvreg_ros.data.merge import fragment_colors, merged_cloud
from mvreg_ros.evaluation.top_view import top_view
from mvreg_ros.multiview.support import rotation_angle
from mvreg_ros.parameters import Value
from mvreg_ros.reasons import in_words
from mvreg_ros.report.histograms import histogram
from mvreg_ros.report.page import page
from mvreg_ros.report.pictures import GRID, picture
from mvreg_ros.types import FloatArray, Fragment, Registration, Verdict
import numpy as np

# What keeps the page small and clear: components shown, rejected edges listed, and drawn unasked.
COMPONENTS = 6
REJECTED = 2000
DRAWN = 60


def report_html(
    fragments: Sequence[Fragment], registration: Registration, parameters: Mapping[str, Value],
) -> str:
    """Return the page of a registration."""
    edges = registration.edges
    rows = _edges(registration)
    components = [
        _component(fragments, registration, parameters, label, rows)
        for label in range(min(registration.component.max(initial=-1) + 1, COMPONENTS))]
    R = components[0]['rotation'] if components else np.eye(3)
    before = picture(
        np.concatenate([fragment.points for fragment in fragments]) @ R.T,
        np.repeat(np.arange(len(fragments)), [len(fragment.points) for fragment in fragments]))
    distance, angle = residuals(registration)
    order = np.lexsort((-edges.confidence, ~edges.used))[:int(edges.used.sum()) + REJECTED]
    return page(
        'registration.html', parameters=parameters, fragments=fragments, verdict=Verdict,
        placed=int(registration.placed.sum()), count=len(edges), seconds=registration.seconds,
        component_count=int(registration.component.max(initial=-1)) + 1,
        counts={v: int((edges.verdict == v).sum()) for v in Verdict},
        unplaced=_unplaced(fragments, registration, rows), components=components,
        rows=[rows[row] for row in order], histograms=[
            histogram('Confidence of edges', '', edges.confidence, edges.used, top=1.0),
            histogram('Distance between edge and poses', 'cm', 100 * distance, edges.used),
            histogram('Angle between edge and poses', '°', angle, edges.used)],
        grid=GRID, pictures={
            'before': before, **{f'map-{c["label"]}': c['picture'] for c in components}},
        colors=[f'#{r:02x}{g:02x}{b:02x}' for r, g, b in fragment_colors(len(fragments))])


def residuals(registration: Registration) -> tuple[FloatArray, FloatArray]:
    """Return (E,) metres and (E,) degrees between edges and poses, NaN across components."""
    edges, component = registration.edges, registration.component
    inside = (component[edges.i] == component[edges.j]) & (component[edges.i] >= 0)
    i, j = edges.i[inside], edges.j[inside]
    poses = registration.poses
    off = np.linalg.inv(poses[i] @ edges.T_i_j[inside]) @ poses[j]
    distance, angle = np.full(len(edges), np.nan), np.full(len(edges), np.nan)
    distance[inside] = np.linalg.norm(off[:, :3, 3], axis=1)
    angle[inside] = np.degrees(rotation_angle(off[:, :3, :3]))
    return distance, angle


def _component(
    fragments: Sequence[Fragment], registration: Registration, parameters: Mapping[str, Value],
    label: int, rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return what the page shows of a component: its map and its pose graph from above."""
    points, ids = merged_cloud(fragments, registration, float(parameters['voxel_size']), label)
    R = top_view(points)
    members = list(registration.members(label))
    positions = registration.poses[members, :3, 3] @ R.T
    shown = picture(points @ R.T, ids, positions)
    spots = {id: (x - shown['left'], shown['top'] - y)
             for id, (x, y, _) in zip(members, positions.tolist(), strict=True)}
    edges = registration.edges
    inside = np.flatnonzero(np.isin(edges.i, members) & np.isin(edges.j, members))
    # Rejected edges first, so that they are drawn below the others; the most confident on top.
    order = inside[np.lexsort((edges.confidence[inside], edges.used[inside]))]
    lines = [{'ends': (*spots[int(edges.i[row])], *spots[int(edges.j[row])]),
              'color': confidence_color(edges.confidence[row]), 'edge': rows[row]}
             for row in order]
    way = [spots[id] for id in sorted(members, key=lambda id: (fragments[id].stamp_ns, id))]
    return {'label': label, 'spots': spots, 'lines': lines, 'rotation': R, 'picture': shown,
            'way': way, 'show': int((~edges.used[inside]).sum()) <= DRAWN}


def _edges(registration: Registration) -> list[dict[str, Any]]:
    """Return what the page says of each edge."""
    edges = registration.edges
    angle = np.degrees(rotation_angle(edges.T_i_j[:, :3, :3]))
    columns = zip(
        edges.i.tolist(), edges.j.tolist(), edges.verdict, edges.confidence.tolist(),
        edges.inliers.tolist(), edges.reason, edges.T_i_j[:, :3, 3], angle.tolist(),
        *(values.tolist() for values in residuals(registration)), strict=True)
    return [
        {'i': i, 'j': j, 'verdict': str(verdict), 'confidence': confidence, 'inliers': inliers,
         'reason': in_words(reason), 'distance': float(np.linalg.norm(t)), 'angle': angle,
         'off': None if np.isnan(metres) else (100 * metres, degrees)}
        for i, j, verdict, confidence, inliers, reason, t, angle, metres, degrees in columns]


def _unplaced(
    fragments: Sequence[Fragment], registration: Registration, rows: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return each fragment that was not placed, why, and the edge that came nearest to it."""
    edges = registration.edges
    unplaced = []
    for id in np.flatnonzero(~registration.placed).tolist():
        own = np.flatnonzero((edges.i == id) | (edges.j == id))
        best = rows[own[edges.confidence[own].argmax()]] if len(own) else None
        unplaced.append({'fragment': fragments[id], 'best': best,
                         'reason': in_words(registration.reason[id])})
    return unplaced


def confidence_color(confidence: float) -> str:
    """Return red for 0 over amber to blue for 1, which the colour-blind can tell apart too."""
    stops = np.array([[215, 48, 31], [242, 169, 59], [33, 102, 172]])
    color = [float(np.interp(confidence, [0, 0.5, 1], stops[:, k])) for k in range(3)]
    return '#' + ''.join(f'{round(value):02x}' for value in color)
