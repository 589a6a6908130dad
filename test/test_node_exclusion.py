# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments that the node leaves out, and puts back, over real DDS."""

from __future__ import annotations

import json
from pathlib import Path

from mvreg_ros import MultiviewRegistration
from mvreg_ros.data.graph import graph_json
from mvreg_ros.exclusion import register_without
from mvreg_ros.node.interface import LATCHED
from node_session import computed, directory, Session, session, set_parameter, views, VOXEL_SIZE
from std_msgs.msg import String
import yaml

FRAGMENTS = views(4)


def graph(node: Session) -> str:
    """Register and return ~/graph."""
    answer = node.call('~/register')
    assert answer.success, answer.message
    return node.receive(String, '~/graph', LATCHED).data


def test_a_fragment_is_left_out_and_put_back_and_nothing_is_computed_again(
    tmp_path: Path,
) -> None:
    with session('-p', directory(tmp_path)) as node:
        node.publish(FRAGMENTS)
        before = graph(node)
        calls = computed(node)
        assert set_parameter(node, 'exclude', '3') == ''
        without = graph(node)
        for name, value in (('exclude', ''), ('min_confidence', 0.7)):
            assert set_parameter(node, name, value) == ''
        answer = node.call('~/save')
        assert set_parameter(node, 'min_confidence', 0.6) == ''
        assert graph(node) == before
        assert calls == []
    pipeline = MultiviewRegistration.from_pretrained(voxel_size=VOXEL_SIZE, device='cpu')
    assert without == graph_json(FRAGMENTS, register_without(pipeline, FRAGMENTS, {3}))
    assert [each['reason'] for each in json.loads(without)['nodes']] == ['', '', '', 'excluded']
    saved = Path(answer.message)
    assert (saved / 'fragments.csv').read_text().splitlines()[4].endswith(',false,-1,excluded')
    # The parameters are those of what is saved, whatever was set since.
    parameters = yaml.safe_load((saved / 'config.yaml').read_text())['parameters']
    assert (parameters['exclude'], parameters['min_confidence']) == ('3', 0.6)
    assert len(list((tmp_path / 'session_0001' / 'fragments').iterdir())) == 4


def test_ids_that_nobody_has_are_refused_and_reset_excludes_nobody() -> None:
    with session('-p', 'exclude:=2-5') as node:  # of fragments to come
        node.publish(FRAGMENTS[:3])
        assert node.call('~/register').message.startswith('2 of 3 fragments placed (excluded 2)')
        assert set_parameter(node, 'exclude', '1 3') == (
            'exclude: no fragment has the id 3, there are 0 to 2: exclude others')
        assert 'neither an id nor a range of ids' in set_parameter(node, 'exclude', 'all')
        assert set_parameter(node, 'exclude', '0-1') == ''
        answer = node.call('~/register')
        assert (answer.success, answer.message) == (
            False, '1 of 3 fragments are left, two are needed: exclude fewer')
        node.call('~/reset')
        assert node.node.get_parameter('exclude').value == ''
