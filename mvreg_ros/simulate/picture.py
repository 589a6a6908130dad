# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The picture of a simulated session: the flat from above, what the camera saw, fragments."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from mvreg_ros.data.merge import fragment_colors
from mvreg_ros.evaluation.drawing import BACKGROUND, CEILING, INK, scatter, style
from mvreg_ros.features.normals import estimate_normals
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.simulate.camera import FARTHEST
from mvreg_ros.simulate.ground_truth import world_points
from mvreg_ros.simulate.session import SimulatedSession
from mvreg_ros.simulate.world import SimulatedWorld
from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray
import torch

SHOWN = 4  # fragments of which an image and the points are shown
WORST = 40.0  # millimetres, where the colours of errors end
MAP_SPACING, NORMAL_RADIUS = 0.04, 0.075
SLOPE = np.deg2rad(35)  # from how high fragments are looked at


def draw(world: SimulatedWorld, session: SimulatedSession, path: Path) -> None:
    """Write the picture of `session`, which was recorded in `world`."""
    figure = Figure(figsize=(20, 10), facecolor=BACKGROUND)
    clouds = world_points(session)
    shown = np.unique(np.linspace(0, len(clouds) - 1, SHOWN + 2)[1:-1].astype(int)).tolist()
    grid = figure.add_gridspec(
        len(shown), 4, width_ratios=(4, 1, 1, 1), left=0.01, right=0.99, bottom=0.02, top=0.95,
        wspace=0.03, hspace=0.15)
    draw_flat(figure.add_subplot(grid[:, 0]), world, session, clouds)
    for row, k in enumerate(shown):
        seen, wrong, cloud = (figure.add_subplot(grid[row, column]) for column in (1, 2, 3))
        draw_image(seen, wrong, world, k)
        draw_fragment(cloud, clouds[k], world.T_world_camera[k, 0])
        cloud.set_title(f'fragment {k}, colours are normals', color=INK)
    figure.savefig(path, dpi=80)


def draw_flat(
    axes: Axes, world: SimulatedWorld, session: SimulatedSession, clouds: list[FloatArray]
) -> None:
    """Draw all fragments where they are, cut open below the ceiling, the walls and the walk."""
    points = np.concatenate(clouds).astype(np.float32)
    colors = np.repeat(fragment_colors(len(clouds)), [len(cloud) for cloud in clouds], axis=0)
    rows = voxel_down_sample(torch.from_numpy(points), MAP_SPACING).numpy()
    rows = rows[points[rows, 2] < CEILING]
    scatter(axes, points[rows, :2], points[rows, 2], colors[rows])
    for room in world.plan.rooms:
        for wall in room.walls:
            ends = [wall.world(x, 0) for x in (0, wall.length)]
            axes.plot(*np.transpose(ends), color=INK, linewidth=1, alpha=0.4)
            for hole in wall.openings:
                ends = [wall.world(x, 0) for x in (hole.start, hole.end)]
                axes.plot(*np.transpose(ends), color=BACKGROUND if hole.is_door else '#4da3ff',
                          linewidth=3)
        x, y = (room.low + room.high) / 2
        axes.text(x, y, room.kind, color=INK, ha='center', fontsize=13)
    axes.plot(*session.trajectory[:, :2].T, color=INK, linewidth=1)
    starts, ahead = session.T_world_fragment[:, :2, 3], session.T_world_fragment[:, :2, 2]
    views = list(np.stack([starts, starts + 0.25 * ahead], 1))
    axes.add_collection(LineCollection(views, colors=INK, linewidths=1))
    for k, (x, y) in enumerate(starts - 0.12 * ahead):
        axes.text(x, y, str(k), color=INK, fontsize=8, ha='center', va='center')
    style(axes, f'{len(clouds)} fragments from above, with the walls (windows blue) and the walk')


def draw_image(seen: Axes, wrong: Axes, world: SimulatedWorld, fragment: int) -> None:
    """Draw the first depth image of a fragment and its errors; black is no depth."""
    depth, = world.images(fragment, np.random.default_rng(world.chance[fragment]), 1)
    truth, _ = world.truth(world.T_world_camera[fragment, 0])
    missing = depth == 0
    error = np.ma.masked_where(missing, 1e3 * (depth - truth))
    seen.imshow(np.ma.masked_where(missing, depth), cmap='viridis', vmin=0, vmax=FARTHEST)
    wrong.imshow(error, cmap='coolwarm', vmin=-WORST, vmax=WORST)
    spread = np.ma.median(abs(error))
    seen.set_title(f'depth, 0 to {FARTHEST:.0f} m, {missing.mean():.0%} missing', color=INK)
    wrong.set_title(f'error, ±{WORST:.0f} mm, median size {spread:.0f} mm', color=INK)
    for axes in (seen, wrong):
        axes.set(facecolor='black', xticks=[], yticks=[])


def draw_fragment(axes: Axes, points: FloatArray, T_world_camera: FloatArray) -> None:
    """Draw points of the world from above and behind the camera, coloured by their normals."""
    ahead = np.array([*T_world_camera[:2, 2], 0]) / np.linalg.norm(T_world_camera[:2, 2])
    up = np.array([0, 0, 1])
    level = np.stack([np.cross(ahead, up), ahead, up])
    points = (points[points[:, 2] < CEILING] - T_world_camera[:3, 3]) @ level.T
    normals = normals_of(points.astype(np.float32))
    x, y, z = points.T
    picture = np.stack([x, z * np.cos(SLOPE) + y * np.sin(SLOPE)], 1)
    nearness = z * np.sin(SLOPE) - y * np.cos(SLOPE)
    colors = (127.5 * (1 + normals * [1, -1, 1])).astype(np.uint8)
    scatter(axes, picture, nearness, colors)
    axes.set_aspect('equal')
    axes.axis('off')


def normals_of(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the normals of points (N, 3), towards the origin."""
    cloud = torch.from_numpy(points)
    return estimate_normals(cloud, cloud, NORMAL_RADIUS, torch.zeros(3)).numpy()
