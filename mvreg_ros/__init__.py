# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Learned multiview registration of point-cloud fragments, and the ROS 2 node around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mvreg_ros.register import MultiviewRegistration

__version__ = '0.1.0'
__all__ = ['MultiviewRegistration', '__version__']


def __getattr__(name: str) -> object:
    """Import the pipeline, and torch with it, only when somebody asks for it."""
    if name == 'MultiviewRegistration':
        from mvreg_ros.register import MultiviewRegistration

        return MultiviewRegistration
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
