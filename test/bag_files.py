# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags for tests, of the very bytes that a node would receive."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

TYPES = get_typestore(Stores.ROS2_KILTED)


def write_bag(
    path: Path, messages: Iterable[tuple[str, Any]], storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a rosbag2 of (topic, message), a second between two messages, and return `path`."""
    bag = Writer(path, version=9, storage_plugin=storage)
    bag.set_compression(compression, CompressionFormat.ZSTD)
    with bag as writer:
        connections: dict[str, Any] = {}
        for index, (topic, message) in enumerate(messages):
            if topic not in connections:
                package = type(message).__module__.split('.')[0]
                connections[topic] = writer.add_connection(
                    topic, f'{package}/msg/{type(message).__name__}', typestore=TYPES)
            writer.write(connections[topic], index * 10**9, serialize_message(message))
    return path


def file_of(bag: Path) -> Path:
    """Return the one file of the folder of a bag that holds the messages."""
    file, = (each for each in bag.iterdir() if each.name != 'metadata.yaml')
    return file
