# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Learned multiview registration of point-cloud fragments, and the ROS 2 node around it."""

__version__ = '0.1.0'
