# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The picture of the demo: what the robot published, and the map it became, from above."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from mvreg_ros.data.merge import fragment_colors, transform_points
from mvreg_ros.evaluation.drawing import BACKGROUND, CEILING, INK, scatter, style
from mvreg_ros.node.recording import Recording
from mvreg_ros.types import FloatArray
import numpy as np

CONFIDENCE = LinearSegmentedColormap.from_list('confidence', ['#ff453a', '#ffd60a', '#30d158'])


def draw(recording: Recording, T_world_map: FloatArray, path: Path) -> None:
    """Write the picture; T_world_map: (4, 4), turns the map upright."""
    layout = ConstrainedLayoutEngine(w_pad=0.3, h_pad=0.3)
    figure = Figure(figsize=(16, 8.6), facecolor=BACKGROUND, layout=layout)
    before, after = figure.subplots(1, 2, width_ratios=(1, 1.4))
    draw_before(before, recording)
    draw_after(after, recording, T_world_map)
    figure.savefig(path, dpi=120)


def draw_before(axes: Axes, recording: Recording) -> None:
    """Draw all fragments in their own frames, on top of one another."""
    clouds = [recording.clouds[stamp] for stamp in sorted(recording.clouds)]
    colors = np.repeat(fragment_colors(len(clouds)), [len(cloud) for cloud in clouds], axis=0)
    points = np.concatenate(clouds)
    # In the frame of a camera z looks ahead and y down.
    scatter(axes, points[:, [0, 2]], -points[:, 1], colors)
    style(axes, f'Before: {len(clouds)} fragments, each in a frame of its own')


def draw_after(axes: Axes, recording: Recording, T_world_map: FloatArray) -> None:
    """Draw the map without its ceiling, the edges that were used and the way of the robot."""
    points = transform_points(T_world_map, recording.map_points)
    below = points[:, 2] < CEILING
    scatter(axes, points[below, :2], points[below, 2], recording.map_colors[below])
    axes.plot(*recording.trajectory[:, :2].T, color=INK, linewidth=1, alpha=0.7, zorder=2,
              label='way of the camera (truth)')

    nodes = recording.graph['nodes']
    stamps = [int(node['stamp'].replace('.', '')) for node in nodes]
    positions = transform_points(T_world_map, np.array([
        recording.poses[stamp][:3, 3] if stamp in recording.poses else np.full(3, np.nan)
        for stamp in stamps
    ]))
    edges = [edge for edge in recording.graph['edges'] if edge['verdict'] != 'pruned']
    lines = LineCollection(
        [positions[[edge['source_node_id'], edge['target_node_id']], :2] for edge in edges],
        cmap=CONFIDENCE, linewidths=1.6, alpha=0.9, zorder=3)
    lines.set_array([edge['confidence'] for edge in edges])
    lines.set_clim(0, 1)
    axes.add_collection(lines)
    axes.plot(*positions[:, :2].T, 'o', color=INK, markersize=5, markeredgecolor=BACKGROUND,
              zorder=4, label='fragments (estimate)')
    style(axes, f'After: {len(recording.poses)} of {len(nodes)} fragments in one map')
    axes.legend(loc='upper left', bbox_to_anchor=(0, 0.02), labelcolor=INK, frameon=False, ncols=2)
    bar = axes.figure.colorbar(lines, ax=axes, shrink=0.5, pad=0.02, label='confidence of an edge')
    bar.ax.yaxis.label.set_color(INK)
    bar.ax.tick_params(colors=INK)
    bar.outline.set_visible(False)
