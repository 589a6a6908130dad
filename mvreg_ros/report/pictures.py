# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points from above, packed for a canvas of a page."""

from __future__ import annotations

import base64
from typing import Any

from mvreg_ros.types import FloatArray
import numpy as np
from numpy.typing import NDArray

POINTS = 40000  # in a picture, which keeps the page small
GRID = 15000


def picture(
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
