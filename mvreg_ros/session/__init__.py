# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A session on disk: the fragments that were accepted, and what was computed from them."""
