# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From the frames of a depth camera with odometry to fragments."""
