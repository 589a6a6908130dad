# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which tensors the native kernel serves, and its calls, split over threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.native.library import native_kernel
import torch
from torch import Tensor

Call = tuple[int | float, ...]


def serves(*tensors: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Return whether there is a native kernel for these tensors: of that type and on the CPU."""
    return (all(t.dtype == dtype and t.device.type == 'cpu' for t in tensors)
            and native_kernel().library is not None)


def run(name: str, calls: list[Call]) -> None:
    """Make the calls, which write to different memory, on as many threads as torch uses."""
    function: Callable[..., None] = getattr(native_kernel().library, name)
    threads = min(torch.get_num_threads(), len(calls))
    if threads < 2:
        for call in calls:
            raise_if_cancelled()
            function(*call)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(function, *call) for call in calls]:
            done.result()


def pieces(count: int, most: int) -> list[tuple[int, int]]:
    """Return the first and the end of parts of at most so many."""
    return [(first, min(first + most, count)) for first in range(0, count, most)]
