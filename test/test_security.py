# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy allows what the node does, no less and no more; no request carries a path."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from mvreg_ros.node.interface import SERVICES
from mvreg_ros.parameters import BY_NAME
from node_session import session

POLICY = Path(__file__).parents[1] / 'config' / 'mvreg.policy.xml'
ON_DEMAND = {'/clock'}  # with use_sim_time


def allowed(kind: str, permission: str) -> set[str]:
    """Return the full names of the topics or services that a permission holds for."""
    profile, = ElementTree.parse(POLICY).iter('profile')
    assert (profile.get('ns'), profile.get('node')) == ('/', 'mvreg')
    names = [
        element.text or '' for group in profile.findall(f'{kind}s[@{permission}="ALLOW"]')
        for element in group.findall(kind)]
    assert len(names) == len(set(names))
    return {'/' + name.replace('~', 'mvreg').removeprefix('/') for name in names}


def test_the_policy_names_what_a_node_with_odometry_uses() -> None:
    with session('-p', 'prior.frame:=odom') as running:
        node = running.node
        name = node.get_name(), node.get_namespace()

        def used(names_and_types: list[tuple[str, list[str]]]) -> set[str]:
            return {each for each, _ in names_and_types}

        assert used(node.get_service_names_and_types_by_node(*name)) == allowed(
            'service', 'reply')
        assert used(node.get_publisher_names_and_types_by_node(*name)) == allowed(
            'topic', 'publish')
        assert used(node.get_subscriber_names_and_types_by_node(*name)) == allowed(
            'topic', 'subscribe') - ON_DEMAND


def test_no_request_carries_a_path() -> None:
    """And parameters that are paths are read once, at the start."""
    for service in SERVICES:
        fields = service.type.Request.get_fields_and_field_types()
        assert 'string' not in ' '.join(fields.values()), service.name
    assert BY_NAME['session.directory'].read_only
    assert BY_NAME['weights'].read_only
