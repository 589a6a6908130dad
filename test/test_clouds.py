# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PointCloud2 conversion against a slow twin that reads one number at a time."""

from __future__ import annotations

from copy import deepcopy
from math import isfinite
import struct

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.data.point_cloud2 import points_from_cloud
from mvreg_ros.node.clouds import cloud_from_points
from mvreg_ros.refusal import CURES, Refusal
import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

LETTERS = {
    PointField.INT8: 'b', PointField.UINT8: 'B', PointField.INT16: 'h', PointField.UINT16: 'H',
    PointField.INT32: 'i', PointField.UINT32: 'I',
    PointField.FLOAT32: 'f', PointField.FLOAT64: 'd',
}
FLOATS = (PointField.FLOAT32, PointField.FLOAT64)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
NUMBERS = FINITE | st.sampled_from([np.nan, np.inf, -np.inf])


@st.composite
def clouds(draw: st.DrawFn, numbers: st.SearchStrategy[float] = NUMBERS) -> PointCloud2:
    """Draw a valid cloud: any fields around x, y, z, any gaps, padding, byte order and shape."""
    others = draw(st.lists(
        st.tuples(st.sampled_from(['intensity', 'ring', 't', 'rgb', '']),
                  st.sampled_from(list(LETTERS)), st.integers(1, 3)),
        max_size=3, unique_by=lambda field: field[0]))
    xyz = [(name, draw(st.sampled_from(FLOATS)), draw(st.integers(0, 1))) for name in 'xyz']
    fields, end = [], 0
    for name, datatype, count in draw(st.permutations(xyz + others)):
        offset = end + draw(st.integers(0, 5))
        fields.append(PointField(name=name, offset=offset, datatype=datatype, count=count))
        end = offset + max(count, 1) * struct.calcsize(LETTERS[datatype])
    width, height = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    point_step = end + draw(st.integers(0, 7))
    row_step = width * point_step + draw(st.integers(0, 9))
    order = draw(st.sampled_from('<>'))
    filler = np.random.default_rng(draw(st.integers(0, 99)))
    data = bytearray(filler.bytes(height * row_step + draw(st.integers(0, 5))))
    for start in point_starts(width, height, point_step, row_step):
        for field in fields:
            if field.name in ('x', 'y', 'z'):
                struct.pack_into(order + LETTERS[field.datatype], data, start + field.offset,
                                 draw(numbers))
    return PointCloud2(
        header=Header(frame_id='sensor'), height=height, width=width, fields=fields,
        is_bigendian=order == '>', point_step=point_step, row_step=row_step, data=bytes(data),
        is_dense=draw(st.booleans()),
    )


def point_starts(width: int, height: int, point_step: int, row_step: int) -> list[int]:
    """Return where each point begins in the data, row by row."""
    return [v * row_step + u * point_step for v in range(height) for u in range(width)]


def twin(cloud: PointCloud2) -> list[list[float]]:
    """Return the finite points of a valid cloud, one number at a time."""
    fields = {field.name: field for field in cloud.fields}
    points = []
    for start in point_starts(cloud.width, cloud.height, cloud.point_step, cloud.row_step):
        point = [
            struct.unpack_from(
                ('>' if cloud.is_bigendian else '<') + LETTERS[fields[name].datatype],
                bytes(cloud.data), start + fields[name].offset)[0]
            for name in 'xyz'
        ]
        if all(map(isfinite, point)):
            points.append(point)
    return points


def refusal_of(cloud: PointCloud2) -> str | None:
    """Return the reason for which `cloud` is refused, None if it is not."""
    try:
        points_from_cloud(cloud)
    except Refusal as refusal:
        assert CURES[refusal.reason] in str(refusal)
        assert '\n' not in str(refusal)
        return refusal.reason
    return None


def simple_cloud(points: object, **changes: object) -> PointCloud2:
    """Return a plain cloud of `points`, with some attributes replaced."""
    points = np.asarray(points, np.float32).reshape(-1, 3)
    cloud = cloud_from_points(
        Header(frame_id='sensor'), points, np.zeros(points.shape, np.uint8))
    for name, value in changes.items():
        setattr(cloud, name, value)
    return cloud


@given(clouds())
def test_any_layout_reads_as_the_twin_reads_it(cloud):
    expected = twin(cloud)
    before = deepcopy(cloud)
    if expected:
        points = points_from_cloud(cloud)
        np.testing.assert_array_equal(points, np.float32(expected))
        assert points.dtype == np.float32
        assert points.flags.c_contiguous
        points[:] = 0  # the points are the caller's own
    else:
        assert refusal_of(cloud) == 'not_finite'
    assert cloud == before


@given(clouds(numbers=FINITE), st.data())
def test_data_cut_short_is_refused(cloud, data):
    cut = data.draw(st.integers(0, cloud.height * cloud.row_step - 1))
    cloud.data = bytes(cloud.data)[:cut]
    assert refusal_of(cloud) == 'bad_size'


@given(clouds(numbers=FINITE), st.sampled_from(['x', 'y', 'z']))
def test_a_cloud_without_a_coordinate_is_refused(cloud, name):
    cloud.fields = [field for field in cloud.fields if field.name != name]
    assert refusal_of(cloud) == 'no_xyz'


UINT32 = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
FIELDS = st.lists(st.builds(
    PointField, name=st.sampled_from(['x', 'y', 'z', 'X', '']), offset=UINT32 | st.integers(0, 9),
    datatype=st.integers(0, 255) | st.sampled_from(FLOATS), count=UINT32 | st.just(1)), max_size=5)


@given(st.builds(
    PointCloud2, fields=FIELDS, height=UINT32 | st.integers(0, 3),
    width=UINT32 | st.integers(0, 3), is_bigendian=st.booleans(),
    point_step=UINT32 | st.integers(0, 40), row_step=UINT32, data=st.binary(max_size=200)))
def test_any_nonsense_is_read_or_refused(cloud):
    if refusal_of(cloud) is None:
        assert len(points_from_cloud(cloud)) >= 1


@given(clouds(numbers=FINITE), st.data())
def test_nonsense_in_one_number_of_a_valid_cloud_is_read_or_refused(cloud, data):
    name = data.draw(st.sampled_from(['height', 'width', 'point_step', 'row_step']))
    setattr(cloud, name, data.draw(UINT32))
    refusal_of(cloud)


@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=20))
def test_points_come_back_from_a_cloud(points):
    points = np.float32(points)
    colors = np.arange(points.size, dtype=np.uint8).reshape(-1, 3)
    cloud = cloud_from_points(Header(frame_id='map'), points, colors)
    np.testing.assert_array_equal(points_from_cloud(cloud), points)
    assert cloud.header.frame_id == 'map'
    assert (cloud.height, cloud.width) == (1, len(points))


def test_colors_are_packed_as_rviz_reads_them():
    cloud = simple_cloud([[1, 2, 3]])
    cloud = cloud_from_points(
        cloud.header, np.float32([[1, 2, 3]]), np.uint8([[0x12, 0x34, 0x56]]))
    rgb = cloud.fields[3]
    assert (rgb.name, rgb.datatype) == ('rgb', PointField.FLOAT32)
    assert struct.unpack_from('<I', bytes(cloud.data), rgb.offset) == (0x123456,)


def test_a_cloud_of_no_points_can_be_made():
    cloud = cloud_from_points(Header(), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))
    assert (cloud.width, len(cloud.data), len(cloud.fields)) == (0, 0, 4)
    assert refusal_of(cloud) == 'empty'


def test_the_order_of_an_organised_cloud_is_row_by_row():
    points = np.arange(18).reshape(6, 3)
    cloud = simple_cloud(points, height=2, width=3, row_step=48)
    np.testing.assert_array_equal(points_from_cloud(cloud), points)


def test_float64_beyond_float32_counts_as_not_finite():
    fields = [
        PointField(name=name, offset=8 * k, datatype=PointField.FLOAT64, count=1)
        for k, name in enumerate('xyz')
    ]
    cloud = PointCloud2(
        height=1, width=2, fields=fields, point_step=24, row_step=48,
        data=struct.pack('<6d', 1e300, 0, 0, 1, 2, 3))
    np.testing.assert_array_equal(points_from_cloud(cloud), [[1, 2, 3]])


@pytest.mark.parametrize(('reason', 'cloud'), [
    ('empty', simple_cloud([])),
    ('empty', simple_cloud([[1, 2, 3]], height=0)),
    ('empty', PointCloud2(fields=simple_cloud([]).fields)),
    ('no_xyz', PointCloud2()),
    ('no_xyz', simple_cloud([[1, 2, 3]], fields=simple_cloud([]).fields * 2)),
    ('no_xyz', simple_cloud([[1, 2, 3]], fields=[
        PointField(name=name, offset=4 * k, datatype=PointField.INT32, count=1)
        for k, name in enumerate('xyz')])),
    ('no_xyz', simple_cloud([[1, 2, 3]], fields=[
        PointField(name=name, offset=0, datatype=PointField.FLOAT32, count=3) for name in 'xyz'])),
    ('bad_size', simple_cloud([[1, 2, 3]], width=2)),
    ('bad_size', simple_cloud([[1, 2, 3]], height=2)),
    ('bad_size', simple_cloud([[1, 2, 3]], point_step=0)),
    ('bad_size', simple_cloud([[1, 2, 3]], point_step=11, row_step=11)),
    ('bad_size', simple_cloud([[1, 2, 3]], row_step=15)),
    ('bad_size', simple_cloud([[1, 2, 3]], width=2**32 - 1, height=2**32 - 1, row_step=2**32 - 1)),
    ('not_finite', simple_cloud([[np.nan, 2, 3], [1, np.inf, 3]], is_dense=True)),
])
def test_each_bad_cloud_has_its_reason(reason, cloud):
    assert refusal_of(cloud) == reason
