# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The points of a PointCloud2; a cloud that says one thing and holds another is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mvreg_ros.refusal import Refusal
import numpy as np
from numpy.typing import NDArray

# FLOAT32 and FLOAT64 of sensor_msgs/PointField.
FORMATS: dict[int, np.dtype] = {7: np.dtype('f4'), 8: np.dtype('f8')}

NAMED = 20  # fields that a refusal names


class PointField(Protocol):
    """A sensor_msgs/PointField of any library."""

    name: str
    offset: int
    datatype: int
    count: int


class PointCloud2(Protocol):
    """A sensor_msgs/PointCloud2 of any library: `data` is any buffer of bytes."""

    header: Any
    height: int
    width: int
    fields: Sequence[PointField]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: Any


def points_from_cloud(cloud: PointCloud2) -> NDArray[np.float32]:
    """
    Return the points of `cloud` with three finite coordinates, (N, 3) float32, N > 0, row by row.

    Fields may come in any order and at any offset, as float32 or float64 of either byte order,
    with padding after points and rows; `is_dense` is not believed. The message is only read.
    Raises Refusal.
    """
    fields = _coordinate_fields(cloud)
    _check_sizes(cloud, fields)
    grid: np.ndarray = np.ndarray(
        (cloud.height, cloud.width),
        np.dtype({
            'names': ['x', 'y', 'z'],
            'formats': [
                FORMATS[field.datatype].newbyteorder('>' if cloud.is_bigendian else '<')
                for field in fields
            ],
            'offsets': [field.offset for field in fields],
        }),
        cloud.data,
        strides=(cloud.row_step, cloud.point_step),
    )
    points = np.empty((*grid.shape, 3), np.float32)
    with np.errstate(over='ignore'):  # a float64 beyond float32 becomes infinite and is dropped
        for column, name in enumerate('xyz'):
            points[..., column] = grid[name]
    points = points.reshape(-1, 3)
    finite = np.isfinite(points)
    if not finite.all():
        points = points[finite.all(axis=1)]
    if len(points) == 0:
        raise Refusal('not_finite', f'none of {grid.size} points is finite')
    return points


def _coordinate_fields(cloud: PointCloud2) -> list[PointField]:
    """Return the fields x, y, z; raise Refusal where one is missing, doubled or no float."""
    coordinates = []
    for name in 'xyz':
        found = [field for field in cloud.fields if field.name == name]
        if len(found) != 1:
            names = [field.name for field in cloud.fields[:NAMED]]
            raise Refusal('no_xyz', f'{len(found)} fields called {name} among {names}')
        field = found[0]
        # Old drivers write a count of 0 for 1, and PCL reads it so.
        if field.datatype not in FORMATS or field.count > 1:
            raise Refusal(
                'no_xyz', f'field {name} has datatype {field.datatype}, count {field.count}')
        coordinates.append(field)
    return coordinates


def _check_sizes(cloud: PointCloud2, fields: list[PointField]) -> None:
    """Raise Refusal unless every coordinate of every point lies inside the data."""
    width, height = cloud.width, cloud.height
    if width * height == 0:
        raise Refusal('empty', f'a cloud of {width} x {height} points')
    end = max(field.offset + FORMATS[field.datatype].itemsize for field in fields)
    if cloud.point_step < end:
        raise Refusal('bad_size', f'fields end at {end}, point_step is {cloud.point_step}')
    if cloud.row_step < width * cloud.point_step:
        raise Refusal('bad_size', f'row_step {cloud.row_step} for {width} points')
    if len(cloud.data) < height * cloud.row_step:
        raise Refusal(
            'bad_size', f'{len(cloud.data)} bytes for {height} rows of {cloud.row_step}')
