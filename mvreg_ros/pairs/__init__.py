# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which pairs of fragments are registered: those that look alike, and those that poses imply."""
