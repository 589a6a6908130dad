# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Our own stand-ins for functions of ROS: known answers, and ROS's own answers where it is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from geometry_msgs.msg import TransformStamped
from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.node import ros_compat
from mvreg_ros.node.consumer import Consumer
from node_session import latched_transforms, participant
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

OF_ROS = {
    'quaternion_from_matrix': 'tf_transformations', 'quaternion_matrix': 'tf_transformations',
    'create_cloud': 'sensor_msgs_py.point_cloud2', 'StaticTransformBroadcaster': 'tf2_ros',
}


def implementations(name: str) -> list[Any]:
    """Return our own implementation, and ROS's where ROS has it, as parameters of a test."""
    own = {'StaticTransformBroadcaster': 'OwnStaticTransformBroadcaster'}.get(name, f'own_{name}')
    module = OF_ROS[name]
    found = [pytest.param(getattr(ros_compat, own), id='ours')]
    if find_spec(module.split('.')[0]):
        found.append(pytest.param(getattr(import_module(module), name), id='of ROS'))
    return found


def test_ros_is_used_where_it_is() -> None:
    for name, module in OF_ROS.items():
        if find_spec(module.split('.')[0]):
            assert getattr(ros_compat, name) is getattr(import_module(module), name)
        else:
            assert getattr(ros_compat, name).__module__ == ros_compat.__name__


HALF = np.sqrt(0.5)


@pytest.mark.parametrize('quaternion_matrix', implementations('quaternion_matrix'))
@pytest.mark.parametrize('quaternion_from_matrix', implementations('quaternion_from_matrix'))
@pytest.mark.parametrize(('quaternion', 'image_of_x'), [
    ((0, 0, 0, 1), (1, 0, 0)),
    ((0, 0, HALF, HALF), (0, 1, 0)),
    ((0, HALF, 0, HALF), (0, 0, -1)),
    ((HALF, 0, 0, HALF), (1, 0, 0)),
    ((0, 1, 0, 0), (-1, 0, 0)),
])
def test_known_quaternions(
    quaternion: tuple, image_of_x: tuple, quaternion_from_matrix: Callable,
    quaternion_matrix: Callable,
) -> None:
    matrix = quaternion_matrix(quaternion)
    assert matrix.shape == (4, 4)
    np.testing.assert_allclose(matrix[:3, 0], image_of_x, atol=1e-12)
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])
    np.testing.assert_allclose(quaternion_from_matrix(matrix), quaternion, atol=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > .1))
def test_quaternions_are_those_of_scipy(quaternion: list[float]) -> None:
    rotation = Rotation.from_quat(quaternion)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix()
    for implementation in implementations('quaternion_matrix'):
        np.testing.assert_allclose(implementation.values[0](quaternion), matrix, atol=1e-9)
    for implementation in implementations('quaternion_from_matrix'):
        answer = implementation.values[0](matrix)
        assert abs(np.linalg.norm(answer) - 1) < 1e-9
        np.testing.assert_allclose(
            Rotation.from_quat(answer).as_matrix(), matrix[:3, :3], atol=1e-7)


@pytest.mark.parametrize('create_cloud', implementations('create_cloud'))
def test_a_cloud_of_float32_fields(create_cloud: Callable) -> None:
    fields = [
        PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
        for k, name in enumerate('xyz')
    ]
    points = np.arange(6, dtype=np.float32).reshape(2, 3)
    cloud = create_cloud(Header(frame_id='map'), fields, points)
    assert (cloud.header.frame_id, cloud.height, cloud.width) == ('map', 1, 2)
    assert (cloud.point_step, cloud.row_step, cloud.is_bigendian) == (12, 24, False)
    assert (list(cloud.fields), bytes(cloud.data)) == (fields, points.tobytes())


def transform(child: str, x: float) -> TransformStamped:
    """Return map -> child, x metres ahead."""
    result = TransformStamped(header=Header(frame_id='map'), child_frame_id=child)
    result.transform.translation.x = x
    return result


def test_our_static_broadcaster_keeps_what_it_sent_by_child_frame() -> None:
    with participant() as sender_context, participant() as listener_context:
        sender = Consumer(context=sender_context)
        broadcaster = ros_compat.OwnStaticTransformBroadcaster(sender)
        broadcaster.sendTransform([transform('a', 1.0), transform('b', 2.0)])
        broadcaster.sendTransform(transform('b', 3.0))
        transforms = latched_transforms(listener_context)
    assert {each.child_frame_id: each.transform.translation.x for each in transforms} == {
        'a': 1.0, 'b': 3.0}


@pytest.mark.parametrize('broadcaster', implementations('StaticTransformBroadcaster'))
@pytest.mark.parametrize('sent', [[], [transform('b', 3.0)]])
def test_a_new_broadcaster_knows_nothing_of_one_whose_publisher_is_destroyed(
    sent: list[TransformStamped], broadcaster: Callable,
) -> None:
    with participant() as sender_context, participant() as listener_context:
        sender = Consumer(context=sender_context)
        old = broadcaster(sender)
        old.sendTransform([transform('a', 1.0), transform('b', 2.0)])
        sender.destroy_publisher(old.pub_tf)
        broadcaster(sender).sendTransform(sent)
        assert latched_transforms(listener_context) == sent
