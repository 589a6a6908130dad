# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The methods that the parameter `method` chooses from, one a file."""
