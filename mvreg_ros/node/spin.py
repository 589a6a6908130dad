# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run a node until it is told to end, and end well."""

from __future__ import annotations

from collections.abc import Callable
import os
import signal
import sys
from typing import NoReturn

from mvreg_ros.types import InputError
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.logging import get_logger
from rclpy.node import Node

STOP_TIMEOUT = 1.5  # seconds; launch sends SIGTERM five after SIGINT


class StoppableNode(Node):
    """A node that may have threads of its own."""

    def stop(self, timeout: float) -> bool:
        """Tell the threads to end; return whether they have within `timeout` seconds."""
        return True


def run(make_node: Callable[[], StoppableNode], args: list[str] | None = None) -> NoReturn:
    """
    Spin the node until SIGINT or SIGTERM, once or often, and end the process.

    The exit code is 0 after a signal, 2 if the node refuses its parameters.
    """
    # rclpy ends the context at a signal and then puts the handler of before in its place, and for
    # SIGINT calls it, too: a second signal (launch sends one) would kill us in the clean-up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    rclpy.init(args=args)
    node, code = None, 0
    try:
        node = make_node()
        rclpy.spin(node)
    except ExternalShutdownException:
        pass
    except InputError as error:
        get_logger('mvreg').fatal(str(error))
        code = 2
    except Exception:
        if rclpy.ok():
            raise
        # The signal came before the node was spinning.
    if node is None or node.stop(STOP_TIMEOUT):
        rclpy.try_shutdown()
    # Python's own end would take torch apart, seconds on a busy machine, let signals kill us
    # meanwhile, and crash where a thread is still in a long native call.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
