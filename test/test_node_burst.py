# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments that come faster than they are taken: none is lost, or it is said how many."""

from __future__ import annotations

from dataclasses import replace

from mvreg_ros.node.interface import FRAGMENTS
from node_session import cloud_of, session, views
import pytest
from rclpy.qos import HistoryPolicy, QoSProfile

FRAGMENT, = views(1)


def test_two_hundred_at_once_are_all_taken() -> None:
    clouds = [cloud_of(replace(FRAGMENT, stamp_ns=stamp)) for stamp in range(1, 201)]
    with session(qos=FRAGMENTS) as node:
        for cloud in clouds:
            node.fragments.publish(cloud)
        node.until_status(fragments=200, refused_lost=0)


def test_what_a_publisher_overwrites_is_counted(capfd: pytest.CaptureFixture[str]) -> None:
    """A depth of 1, as short as can be: what the sender loses is no fault of the node."""
    clouds = [cloud_of(replace(FRAGMENT, stamp_ns=stamp)) for stamp in range(1, 101)]

    def count() -> int:
        return int(node.consumer.status['fragments']) + int(node.consumer.status['refused.lost'])

    with session(qos=QoSProfile(depth=1)) as node:
        for cloud in clouds:
            node.fragments.publish(cloud)
        node.consumer.until(lambda: count() == len(clouds), 'all, or word of them', 60)
        lost = int(node.consumer.status['refused.lost'])
    assert lost == 0 or 'lost: ' in capfd.readouterr().err


def test_overrides_are_those_of_one_node() -> None:
    """A profile that rclpy is given is changed by them."""
    override = 'qos_overrides./fragments.subscription.'
    with session('-p', f'{override}history:=keep_last', '-p', f'{override}depth:=7') as node:
        assert node.node.get_parameter(f'{override}depth').value == 7
    assert FRAGMENTS.history == HistoryPolicy.KEEP_ALL
