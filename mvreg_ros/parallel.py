# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many small independent jobs on all cores, with results that do not depend on how many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar('Item')
Result = TypeVar('Result')


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """
    Yield function(item) in the order of the items.

    On the CPU one thread works for each of torch's (set OMP_NUM_THREADS), each with
    single-threaded operators: no barriers between small operators, and sums that always run in the
    same order. A GPU is fed by one thread. Closing the iterator drops the items not yet begun.
    """
    workers = torch.get_num_threads() if device.type == 'cpu' else 1
    pool = ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(1))
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
