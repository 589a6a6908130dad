# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nonsense by fixed seeds, to the readers and over DDS; longer: python -m benchmarks.fuzz."""

from __future__ import annotations

from benchmarks.fuzz import fuzz, good_cloud, spoiled_cloud, STORE
from mvreg_ros.data.bags import TYPE
from mvreg_ros.refusal import CURES
from node_session import cloud_of, session, views
import numpy as np
import pytest


def test_thousands_of_clouds_are_taken_or_refused_with_a_reason() -> None:
    outcomes = fuzz('clouds', 3000, seed=0)
    assert outcomes['taken'] > 300
    assert outcomes.keys() >= {
        'taken', 'no_xyz', 'bad_size', 'empty', 'not_finite', 'too_far', 'bad_stamp',
        'no_frame_id'}


@pytest.mark.parametrize('target', ['bags', 'sessions'])
def test_spoiled_files_are_read_or_refused(target: str) -> None:
    outcomes = fuzz(target, 200, seed=0)
    assert len(outcomes) > 1  # neither all of it is believed nor nothing


def test_a_node_takes_or_refuses_each_cloud_and_lives() -> None:
    """Clouds as bytes, so that no publisher can mend them; some of them are cut as well."""
    rng = np.random.default_rng(0)
    messages = [spoiled_cloud(rng) for _ in range(100)]
    with session() as node:
        def count() -> int:
            status = node.consumer.status
            return int(status['fragments']) + sum(
                int(status[f'refused.{reason}']) for reason in CURES)

        for message in messages:
            node.fragments.publish(bytes(STORE.serialize_cdr(message, TYPE)))
        node.consumer.until(lambda: count() == len(messages), 'word of each cloud', 60)
        for index in range(100):
            data = bytearray(STORE.serialize_cdr(good_cloud(rng), TYPE))
            del data[rng.integers(len(data)):]
            if index % 2:
                data[rng.integers(len(data) + 1):] = rng.bytes(20)
            node.fragments.publish(bytes(data))
        held = int(node.consumer.status['fragments'])
        node.fragments.publish(cloud_of(views(1)[0]))
        node.consumer.until(
            lambda: int(node.consumer.status['fragments']) > held, 'that the node lives', 60)
