# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How clouds are drawn in pictures: dark, the higher the brighter, with a metre to compare."""

from __future__ import annotations

from matplotlib.axes import Axes
import numpy as np
from numpy.typing import NDArray

BACKGROUND, INK = '#101318', '#e8e6e1'
CEILING = 2.0  # metres above the floor, where a map is cut open
SHADE = 0.4  # brightness of the floor, of 1 at the cut
DENSITY = 60.0  # square points that a point covers in a picture of one square metre


def scatter(
    axes: Axes, points: NDArray[np.float32], height: NDArray[np.float32],
    colors: NDArray[np.uint8],
) -> None:
    """Draw points (N, 2) in their colours, the higher the brighter and the more on top."""
    order = np.argsort(height)
    low, high = np.percentile(height, [2, 98])
    brightness = SHADE + (1 - SHADE) * np.clip((height - low) / (high - low), 0, 1)
    shaded = colors / 255 * brightness[:, None]
    x, y = points[order].T
    size = DENSITY / np.ptp(points, axis=0).max() ** 2
    axes.scatter(x, y, s=size, c=shaded[order], linewidths=0, zorder=1)


def style(axes: Axes, title: str) -> None:
    """Take away what is no data, and add a metre to compare with."""
    axes.set_title(title, color=INK, fontsize=15, pad=10)
    axes.set_aspect('equal')
    axes.axis('off')
    right, bottom = axes.dataLim.x1, axes.dataLim.y0 - 0.4
    axes.plot([right - 1, right], [bottom, bottom], color=INK, linewidth=2)
    axes.text(right - 0.5, bottom - 0.1, '1 m', color=INK, ha='center', va='top')
