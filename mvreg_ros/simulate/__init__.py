# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated mapping sessions with ground truth: furnished flats seen by a depth camera."""

from mvreg_ros.simulate.session import simulate_session, SimulatedSession

__all__ = ['SimulatedSession', 'simulate_session']
