# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a sensor saw by direction, to ask quickly and often what it should have seen.

As `visibility`, but the lines of sight that are compared are those of one pixel and its neighbours
in place of the nearest ones: coarser, and ten times as fast.
"""

from __future__ import annotations

from mvreg_ros.pairwise.visibility import MAX_APART
from mvreg_ros.types import FloatArray, FragmentFeatures
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

ROWS, COLUMNS = 90, 180  # pixels of two degrees


class DepthImage:
    """
    The nearest and the farthest keypoint of a fragment in each direction from its sensor.

    tolerance: metres; see `compare`. What was seen from so far that a pixel is more than
    `MAX_APART` tolerances wide says nothing.
    """

    def __init__(self, features: FragmentFeatures, tolerance: float) -> None:
        """Draw the keypoints."""
        self._origin = features.sensor_origin.cpu().numpy().astype(np.float64)
        self._tolerance = tolerance
        points = features.points.cpu().numpy().astype(np.float64)
        pixel, depth = self._project(points)
        told = depth * np.pi / ROWS < MAX_APART * tolerance
        near = np.full(ROWS * COLUMNS, np.inf, np.float32)
        far = np.full(ROWS * COLUMNS, -np.inf, np.float32)
        np.minimum.at(near, pixel[told], depth[told].astype(np.float32))
        np.maximum.at(far, pixel[told], depth[told].astype(np.float32))
        edges = ('nearest', 'wrap')  # upwards an image ends, sideways it goes round
        self._near = minimum_filter(near.reshape(ROWS, COLUMNS), 3, mode=edges).ravel()
        self._far = maximum_filter(far.reshape(ROWS, COLUMNS), 3, mode=edges).ravel()

    def compare(self, points: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """
        Return which points (N, 3), in the fragment's frame, agree with it, and which contradict.

        Those agree that lie within the tolerance of what was seen in their direction; those
        contradict that lie more than twice as far in front of all of it, in space that was seen
        through. What lies behind or beside all that was seen does neither.
        """
        pixel, depth = self._project(points)
        near, far = self._near[pixel], self._far[pixel]
        agree = (depth > near - self._tolerance) & (depth < far + self._tolerance)
        contradict = np.isfinite(near) & (depth < near - 2 * self._tolerance)
        return agree, contradict

    def _project(self, points: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the pixels (N,) of points (N, 3), and how far from the sensor they are."""
        x, y, z = (points - self._origin).T
        depth = np.sqrt(x * x + y * y + z * z)
        upwards = np.arcsin(np.clip(z / np.maximum(depth, 1e-9), -1, 1))
        row = np.clip((upwards / np.pi + 0.5) * ROWS, 0, ROWS - 1).astype(np.int64)
        column = ((np.arctan2(y, x) / np.pi + 1) / 2 * COLUMNS).astype(np.int64) % COLUMNS
        return row * COLUMNS + column, depth
