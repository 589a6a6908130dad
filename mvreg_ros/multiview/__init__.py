# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From pairwise edges to absolute poses: start, synchronisation, pruning, refinement."""

from mvreg_ros.multiview.pose_graph import PoseGraphConfig, Synchronization, synchronize

__all__ = ['PoseGraphConfig', 'Synchronization', 'synchronize']
