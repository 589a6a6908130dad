# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a registration in messages, without a node."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.markers import confidence_color, markers
from mvreg_ros.node.outputs import messages, NOTHING, Result, summary, transforms
from mvreg_ros.node.stamps import stamp_from_nanoseconds
from mvreg_ros.refusal import Refusal
from mvreg_ros.types import Edges, Fragment, InputError, Registration, Verdict
from node_session import views
import numpy as np
import pytest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

HEADER = Header(frame_id='map')


def registration() -> Registration:
    """Return six fragments: 0, 2, 4 in map, 1 and 3 in map_1, 5 nowhere; an edge was pruned."""
    component = np.array([0, 1, 0, 1, 0, -1])
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[:, 0, 3] = np.arange(6)
    poses[5] = np.nan
    i, j = np.array([0, 2, 1, 0, 3]), np.array([2, 4, 3, 4, 5])
    verdict = np.array(
        [Verdict.KEPT, Verdict.BRIDGE, Verdict.KEPT, Verdict.PRUNED, Verdict.PRUNED], object)
    count = len(i)
    return Registration(
        poses=poses, placed=component >= 0, component=component,
        covariances=np.full((6, 6, 6), np.nan),
        edges=Edges(
            i=i, j=j, T_i_j=np.tile(np.eye(4), (count, 1, 1)),
            confidence=np.array([1.0, 0.0, 0.9, 0.5, 0.1]), inliers=np.full(count, 9),
            evidence=np.full(count, 9.0),
            information=np.tile(np.eye(6), (count, 1, 1)), verdict=verdict,
            reason=np.full(count, '', object)),
        reason=np.full(6, '', object), seconds={'features': 1.25, 'pairs': 2.0})


def test_components_hang_under_frames_of_their_own() -> None:
    frames = {
        each.child_frame_id: (each.header.frame_id, each.transform.translation.x)
        for each in transforms(registration(), HEADER, 'part_')
    }
    assert frames == {
        'part_0000': ('map', 0.0), 'part_0001': ('map_1', 1.0), 'part_0002': ('map', 2.0),
        'part_0003': ('map_1', 3.0), 'part_0004': ('map', 4.0)}


def test_poses_path_and_map_hold_the_first_component_only() -> None:
    fragments = [
        Fragment(np.full((1, 3), k, np.float32), id=k, stamp_ns=10 - k) for k in range(6)]
    outputs = messages(Result(registration(), fragments, {}), HEADER, 0.1)
    assert [pose.position.x for pose in outputs['~/poses'].poses] == [0, 2, 4]
    assert [pose.header.stamp.nanosec for pose in outputs['~/path'].poses] == [10, 8, 6]
    assert outputs['~/map'].width == 3


def test_markers_of_the_graph() -> None:
    array = markers(registration(), HEADER, 0.05).markers
    assert array[0].action == Marker.DELETEALL
    nodes, edges, rejected, *labels = array[1:]
    assert [marker.ns for marker in (nodes, edges, rejected)] == ['nodes', 'edges', 'rejected']
    assert [point.x for point in nodes.points] == [0, 2, 4]
    assert (edges.type, [point.x for point in edges.points]) == (Marker.LINE_LIST, [0, 2, 2, 4])
    assert [(color.r, color.g) for color in edges.colors] == [(0, 1), (0, 1), (1, 0), (1, 0)]
    assert [point.x for point in rejected.points] == [0, 4]
    assert (rejected.color.r, rejected.color.g, rejected.color.a) == (0.5, 0.5, 0.3)
    assert [(label.ns, label.id, label.text) for label in labels] == [
        ('labels', 0, '0'), ('labels', 2, '2'), ('labels', 4, '4')]
    assert all(marker.header.frame_id == 'map' for marker in array)


def test_colors_run_from_red_over_yellow_to_green() -> None:
    middle = confidence_color(0.5)
    assert (middle.r, middle.g, middle.b) == (1, 1, 0)


def test_nothing_has_messages_too() -> None:
    outputs = messages(NOTHING, HEADER, 0.1)
    assert outputs['~/poses'].poses == outputs['~/path'].poses == []
    assert [marker.action for marker in outputs['~/markers'].markers] == [Marker.DELETEALL]


def test_the_summary_names_what_is_missing() -> None:
    assert summary(registration()) == (
        '5 of 6 fragments placed (not 5); 2 components; 3 of 5 edges kept; '
        'features 1.2 s, pairs 2.0 s')
    reason = registration().reason
    reason[5] = 'excluded'
    assert summary(replace(registration(), reason=reason)).startswith(
        '5 of 6 fragments placed (excluded 5); 2 components; ')


def test_the_summary_names_the_first_of_many_that_are_missing() -> None:
    placed = np.zeros(14, bool)
    reason = np.array(['no_link'] * 2 + ['excluded'] * 12, object)
    assert summary(replace(NOTHING.registration, placed=placed, reason=reason)).startswith(
        '0 of 14 fragments placed (not 0, 1; excluded 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...); ')


@given(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999))
def test_stamps_come_back(sec: int, nanosec: int) -> None:
    stamp = Time(sec=sec, nanosec=nanosec)
    assert stamp_from_nanoseconds(nanoseconds_from_stamp(stamp)) == stamp


def test_a_stamp_that_would_not_come_back_is_refused() -> None:
    with pytest.raises(Refusal, match='bad_stamp'):
        nanoseconds_from_stamp(Time(nanosec=1_000_000_000))


def test_ids_count_accepted_fragments_from_zero(tmp_path: Path) -> None:
    def prepare(fragment: Fragment) -> Fragment:
        if len(fragment.points) < 1000:
            raise InputError('too few')
        return fragment

    def sent(points: np.ndarray, stamp_ns: int, frame_id: str) -> Fragment:
        return Fragment(points, stamp_ns=stamp_ns, frame_id=frame_id)

    with closing(FragmentBuffer(prepare, voxel_size=0.1, directory=tmp_path)) as buffer:
        large, small = views(1)[0].points, views(1)[0].points[:10]
        assert buffer.add(sent(large, 1, 'a')).id == 0
        with pytest.raises(Refusal, match='too_few_points'):
            buffer.add(sent(small, 2, 'a'))
        assert buffer.add(sent(large, 3, 'b')).id == 1
        with pytest.raises(Refusal, match='stamp_repeated'):
            buffer.check(3, 'b', max_fragments=9)
        with pytest.raises(Refusal, match='buffer_full'):
            buffer.check(4, 'b', max_fragments=2)
        buffer.check(3, 'a', max_fragments=9)
        buffer.reset()
        assert buffer.add(sent(large, 3, 'b')).id == 0
