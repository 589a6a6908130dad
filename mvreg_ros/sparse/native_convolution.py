# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution by the native kernel: float32 on the CPU, the work split over threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mvreg_ros.sparse.bricks import Bricks
from mvreg_ros.sparse.kernel_map import Block, offsets, size_of
from mvreg_ros.sparse.native import native_kernel
import torch
from torch import Tensor
from torch.nn import functional

# What the kernel wants the columns of a result to be a multiple of; zeros fill them up.
COLUMNS = 16
# Rows of a result that are added up together, so that they stay in the cache of a core.
ROWS = 512
# Offsets whose gradients are summed by one thread.
OFFSETS = 4
Call = tuple[int, ...]


def serves(features: Tensor, kernel: Tensor) -> bool:
    """Return whether there is a native kernel for these."""
    return (features.dtype == kernel.dtype == torch.float32
            and features.device.type == 'cpu' and native_kernel().library is not None)


def convolve_pairs(features: Tensor, kernel: Tensor, blocks: list[Block], rows: int) -> Tensor:
    """Return the sums over the pairs of all blocks, (rows, Cout)."""
    channels = kernel.shape[1]
    features, filled = features.contiguous(), fill_up(kernel)
    columns = filled.shape[2]
    out = features.new_empty(rows, columns)
    steps = torch.zeros(1, dtype=torch.int32)
    run('convolve', [
        (features.data_ptr(), channels, steps.data_ptr(), 1, channels,
         filled.data_ptr(), len(filled), block.inputs.data_ptr(), block.outputs.data_ptr(),
         block.starts.data_ptr(), first, last, out[block.first:].data_ptr(), columns)
        for block in blocks for first, last in pieces(block.last - block.first, ROWS)])
    return out[:, :kernel.shape[2]].contiguous()


def convolve_lines(
    features: Tensor, kernel: Tensor, source: Bricks, targets: Tensor, mirrored: bool
) -> Tensor:
    """Return the products of what lies around each target, line by line, (targets, Cout)."""
    size, channels = size_of(kernel), features.shape[1]
    filled = fill_up((kernel.flip(0) if mirrored else kernel).flatten(0, 1))
    columns = filled.shape[1]
    across, reach = offsets(size, mirrored, targets.device)
    lines = across[::size] * channels
    out = features.new_empty(len(targets), columns)
    done = 0
    for places, cells in source.around(features.contiguous(), 0, targets, reach):
        rows = torch.arange(len(places), dtype=torch.int32)
        starts = torch.tensor([0, len(places)])
        run('convolve', [
            (cells.data_ptr(), channels, lines.data_ptr(), len(lines), size * channels,
             filled.data_ptr(), 1, places.data_ptr(), rows.data_ptr(), starts.data_ptr(),
             first, last, out[done:].data_ptr(), columns)
            for first, last in pieces(len(places), ROWS)])
        done += len(places)
    return out[:, :kernel.shape[2]].contiguous()


def kernel_gradient(
    features: Tensor, gradient: Tensor, blocks: list[Block], size: int
) -> Tensor:
    """Return the gradient of a kernel of so many offsets, (size, Cin, Cout)."""
    features, filled = features.contiguous(), fill_up(gradient)
    channels, columns = features.shape[1], filled.shape[1]
    out = features.new_zeros(size, channels, columns)
    for block in blocks:
        run('kernel_gradient', [
            (features.data_ptr(), channels, filled[block.first:].data_ptr(), columns,
             block.inputs.data_ptr(), block.outputs.data_ptr(), block.starts[first:].data_ptr(),
             last - first, out[first].data_ptr())
            for first, last in pieces(size, OFFSETS)])
    return out[..., :gradient.shape[1]].contiguous()


def fill_up(values: Tensor) -> Tensor:
    """Return (..., C) with zeros up to a multiple of COLUMNS, contiguous."""
    return functional.pad(values, (0, -values.shape[-1] % COLUMNS)).contiguous()


def pieces(count: int, most: int) -> list[tuple[int, int]]:
    """Return the first and the end of parts of at most so many."""
    return [(first, min(first + most, count)) for first in range(0, count, most)]


def run(name: str, calls: list[Call]) -> None:
    """Make the calls, which write to different memory, on as many threads as torch uses."""
    function: Callable[..., None] = getattr(native_kernel().library, name)
    threads = min(torch.get_num_threads(), len(calls))
    if threads < 2:
        for call in calls:
            function(*call)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(function, *call) for call in calls]:
            done.result()
