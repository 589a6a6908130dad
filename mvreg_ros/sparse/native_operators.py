# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The operators of sparse convolution by the native kernel, their work split over threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvreg_ros.native.dispatch import pieces, run
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from mvreg_ros.sparse.kernel_map import Block

# What the kernel wants the columns of a result to be a multiple of; zeros fill them up.
COLUMNS = 16
# Rows of a result that are added up together, so that they stay in the cache of a core.
ROWS = 512
# Offsets whose gradients are summed by one thread.
OFFSETS = 4


def find_pairs(cells: Tensor, places: Tensor, across: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """Return inputs, outputs and counts of a block: what cells there are across from places."""
    rows, offsets = len(places), len(across)
    inputs, outputs = torch.empty(2, rows * offsets, dtype=torch.int32)
    starts = torch.empty(offsets + 1, dtype=torch.int64)
    run('find_pairs', [(
        cells.data_ptr(), places.data_ptr(), rows, across.data_ptr(), offsets,
        inputs.data_ptr(), outputs.data_ptr(), starts.data_ptr())])
    pairs = int(starts[-1])
    return inputs[:pairs].clone(), outputs[:pairs].clone(), starts.diff().tolist()


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


def convolve_lines(cells: Tensor, places: Tensor, lines: Tensor, weight: Tensor) -> Tensor:
    """
    Return the product of what lies around each place with the weights, (places, Cout).

    Around a place lie the cells from place + line on, for each of lines (L,) int32, that many that
    weight (L * cells * channels, Cout) has a row for each of their channels.
    """
    channels = cells.shape[1:].numel()
    filled = fill_up(weight)
    columns = filled.shape[1]
    out = cells.new_empty(len(places), columns)
    steps = lines * channels
    rows = torch.arange(len(places), dtype=torch.int32)
    starts = torch.tensor([0, len(places)])
    run('convolve', [
        (cells.data_ptr(), channels, steps.data_ptr(), len(steps), len(filled) // len(steps),
         filled.data_ptr(), 1, places.data_ptr(), rows.data_ptr(), starts.data_ptr(),
         first, last, out.data_ptr(), columns)
        for first, last in pieces(len(places), ROWS)])
    return out[:, :weight.shape[1]]


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
    missing = -values.shape[-1] % COLUMNS
    return (functional.pad(values, (0, missing)) if missing else values).contiguous()
