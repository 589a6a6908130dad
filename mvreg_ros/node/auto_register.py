# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Registrations that nobody calls for: one after so many fragments."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from mvreg_ros.node.job import Job
from rclpy.node import Node


class AutoRegister:
    """
    Begins a registration when `auto_register.every` fragments came since the last was begun.

    While one runs it waits for the end.
    """

    def __init__(
        self, node: Node, job: Job, register: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Call `register` by the executor of the node; job: that all registrations run in."""
        self._node = node
        self._job = job
        self._register = register
        self._registered = 0

    def begun(self, held: int) -> None:
        """Take note that so many fragments are being registered; 0 after a reset."""
        self._registered = held

    def look(self, held: int) -> None:
        """Begin a registration if it is time for one; held: fragments."""
        every = self._node.get_parameter('auto_register.every').value
        if not every or held < max(2, self._registered + every) or self._job.stage is not None:
            return
        self.begun(held)  # it may be a while until the executor begins
        if self._node.executor is not None:
            self._node.executor.create_task(self._register)
