# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points to PointCloud2."""

from __future__ import annotations

from mvreg_ros.node.ros_compat import create_cloud
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header


def cloud_from_points(
    header: Header, points: NDArray[np.float32], colors: NDArray[np.uint8] | None = None,
) -> PointCloud2:
    """Return a cloud of `points` (N, 3); `colors` (N, 3), red, green, blue, go to field rgb."""
    names = ['x', 'y', 'z'] if colors is None else ['x', 'y', 'z', 'rgb']
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate(names)
    ]
    if len(points) == 0:  # which create_cloud cannot make
        return PointCloud2(
            header=header, height=1, fields=fields, point_step=4 * len(fields), is_dense=True)
    rows = np.zeros((len(points), len(fields)), np.float32)
    rows[:, :3] = points
    if colors is not None:
        red, green, blue = colors.T.astype(np.uint32)
        rows[:, 3] = (red << 16 | green << 8 | blue).view(np.float32)
    cloud = create_cloud(header, fields, rows)
    cloud.is_dense = True
    return cloud
