# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Method `lmpcr` in the node, over real DDS."""

from __future__ import annotations

from pathlib import Path

from mvreg_ros import MultiviewRegistration
from mvreg_ros.data.graph import graph_json
from mvreg_ros.node.interface import LATCHED
from node_session import session, views, VOXEL_SIZE
from std_msgs.msg import String
from tiny_network import write_weights


def test_the_node_registers_with_weights_as_the_library_does(tmp_path: Path) -> None:
    """Bit for bit; the one edge of two fragments is taken, whatever random weights make of it."""
    weights = tmp_path / 'tiny.safetensors'
    write_weights(weights, VOXEL_SIZE)
    fragments = views(2)
    expected = MultiviewRegistration.from_pretrained(
        voxel_size=VOXEL_SIZE, device='cpu', method='lmpcr', features='fcgf',
        weights=str(weights), min_confidence=0.0, refine=False).register(fragments)
    assert expected.placed.all()
    with session(
        '-p', 'method:=lmpcr', '-p', 'features:=fcgf', '-p', f'weights:={weights}',
        '-p', 'min_confidence:=0.0', '-p', 'refine:=false',
    ) as node:
        node.publish(fragments)
        answer = node.call('~/register')
        assert answer.success, answer.message
        graph = node.receive(String, '~/graph', LATCHED)
    assert graph.data == graph_json(fragments, expected)
