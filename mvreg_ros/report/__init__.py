# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
