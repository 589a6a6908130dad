# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node is killed, and is kept at work, for a moment; benchmarks do both for long."""

from __future__ import annotations

from pathlib import Path

from benchmarks.crash import crash
from benchmarks.living_node import joined, living_node, PATIENCE
from benchmarks.soak import burst, Resources, rounds
from node_session import domain
import pytest


@pytest.fixture(autouse=True)
def own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stay in the domain of this test run; the nodes that are forked do so, too."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain()))


def test_a_killed_node_has_lost_nothing_that_it_had_acknowledged(tmp_path: Path) -> None:
    figures = crash(3, 0, tmp_path)
    assert figures.kills == 3 and figures.acknowledged >= 3
    assert figures.lost == figures.changed == 0


def test_nothing_is_lost_beside_registrations_and_nothing_grows(tmp_path: Path) -> None:
    with joined(seed=0) as robot, living_node(tmp_path, robot) as pid:
        assert burst(robot, 10)[0] == 0
        early, _ = rounds(robot, pid, 10)

        def no_more() -> bool:
            late = Resources.of(pid)
            return late.threads <= early.threads and late.files <= early.files

        # What is open for a moment when it is looked at is closed soon; what leaks is not.
        robot.until(no_more, 'as few threads and files as before', PATIENCE)
