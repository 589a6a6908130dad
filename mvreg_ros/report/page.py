# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pages that need nothing else, not even a network: the templates of this folder, filled in."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from mvreg_ros import __version__


def page(template: str, **values: object) -> str:
    """Return a page. What came from outside, such as names of frames, is escaped."""
    environment = Environment(
        loader=PackageLoader('mvreg_ros.report', '.'), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=StrictUndefined)
    return environment.get_template(template).render(version=__version__, **values)
