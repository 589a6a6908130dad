# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One process after the other in the place of several at once: no barrier holds it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore


@contextmanager
def process(rank: int, count: int) -> Iterator[None]:
    """Be process `rank` of `count`."""
    distributed.init_process_group('fake', store=FakeStore(), rank=rank, world_size=count)
    try:
        yield
    finally:
        distributed.destroy_process_group()
