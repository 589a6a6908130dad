# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Measurements: accuracy, speed and memory side by side with peers, one command a table."""
