# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a GPU; where it does not suffice smaller batches, and in the end a clear word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from mvreg_ros.types import InputError
import torch
from torch import Tensor

Result = TypeVar('Result')


def in_halves(function: Callable[..., Result], *batch: Tensor) -> list[Result]:
    """Return [function(*batch)], or the results of halves, quarters, ... where memory is short."""
    try:
        return [function(*batch)]
    except torch.cuda.OutOfMemoryError:
        if len(batch[0]) < 2:
            raise
    # Not in the except clause: the exception keeps the tensors of the failed attempt alive.
    torch.cuda.empty_cache()
    halves = zip(*(tensor.tensor_split(2) for tensor in batch), strict=True)
    return [result for half in halves for result in in_halves(function, *half)]


@contextmanager
def shortage_explained() -> Iterator[None]:
    """Raise InputError with the cure where the memory of the GPU does not suffice."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise InputError(
            'the GPU has not enough memory: raise voxel_size, give smaller fragments or fewer, '
            f'or set device to cpu ({str(error).splitlines()[0]})') from error


def gpu_memory_mb(device: torch.device) -> float | None:
    """Return what torch holds of the memory of a GPU, in MiB; None for a device that is none."""
    return torch.cuda.memory_reserved(device) / 2**20 if device.type == 'cuda' else None
