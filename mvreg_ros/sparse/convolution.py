# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution over the pairs of a kernel map, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mvreg_ros.native import dispatch
from mvreg_ros.sparse import native_operators
from mvreg_ros.sparse.bricks import Bricks
from mvreg_ros.sparse.kernel_map import Block, offsets, size_of
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Cells around voxels that are written out at the same time.
MAX_CELLS = 2**18


class SparseConvolution(torch.autograd.Function):
    """
    Gather, multiply and add up, block by block of output rows; double backward is not supported.

    The native kernel does it, where it serves. Else memory: `MAX_PAIRS` rows of the channels of
    the result, in the backward pass those of the features.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, kernel: Tensor, blocks: list[Block], rows: int,
        adjoint: Callable[[], tuple[list[Block], bool]],
    ) -> Tensor:
        """Return (rows, Cout); adjoint: the map back, and whether it has the kernel flipped."""
        ctx.save_for_backward(features, kernel)
        ctx.blocks, ctx.adjoint = blocks, adjoint
        if dispatch.serves(features, kernel):
            return native_operators.convolve_pairs(features, kernel, blocks, rows)
        out = features.new_empty(rows, kernel.shape[2])
        gathered, products = scratch(blocks, features, out)
        kernels = kernel.unbind()
        for block in blocks:
            pairs = zip(block.inputs.split(block.counts), kernels,
                        products[:len(block.inputs)].split(block.counts), strict=True)
            # One offset at a time, so that what was gathered is multiplied while in the cache.
            for inputs, weight, product in pairs:
                some = torch.index_select(features, 0, inputs, out=gathered[:len(inputs)])
                torch.mm(some, weight, out=product)
            out[block.first:block.last] = add_up(block, products)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of features and kernel."""
        features, kernel = ctx.saved_tensors
        needs_features, needs_kernel = ctx.needs_input_grad[:2]
        gradient = gradient.contiguous()
        blocks, flipped = ctx.adjoint()
        d_features = d_kernel = None
        if dispatch.serves(features, kernel):
            if needs_features:
                adjoint = (kernel.flip(0) if flipped else kernel).transpose(1, 2)
                d_features = native_operators.convolve_pairs(
                    gradient, adjoint, blocks, len(features))
            if needs_kernel:
                d_kernel = native_operators.kernel_gradient(
                    features, gradient, ctx.blocks, len(kernel))
        else:
            d_features, d_kernel = gradients(
                features, kernel, gradient, blocks, flipped, needs_features, needs_kernel)
        return d_features, d_kernel, None, None, None


def gradients(
    features: Tensor, kernel: Tensor, gradient: Tensor, blocks: list[Block], flipped: bool,
    needs_features: bool, needs_kernel: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of features and kernel, from one gather of `gradient`."""
    d_features = torch.empty_like(features)
    d_kernel = torch.zeros_like(kernel)
    gathered, products = scratch(blocks, gradient, d_features)
    weights = list(zip(kernel.transpose(1, 2).unbind(), d_kernel.unbind(), strict=True))
    if flipped:
        weights.reverse()
    for block in blocks:
        pairs = zip(block.inputs.split(block.counts), block.outputs.split(block.counts),
                    weights, products[:len(block.inputs)].split(block.counts), strict=True)
        for inputs, outputs, (weight, d_weight), product in pairs:
            some = torch.index_select(gradient, 0, inputs, out=gathered[:len(inputs)])
            if needs_kernel:
                other = features[block.first:block.last].index_select(0, outputs)
                d_weight.addmm_(other.t(), some)
            if needs_features:
                torch.mm(some, weight, out=product)
        if needs_features:
            d_features[block.first:block.last] = add_up(block, products)
    return d_features if needs_features else None, d_kernel if needs_kernel else None


def scratch(blocks: list[Block], features: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Return memory for the rows gathered for any offset, and for the products of any block."""
    gathered = max((max(b.counts) for b in blocks), default=0)
    products = max((len(b.inputs) for b in blocks), default=0)
    return (features.new_empty(gathered, features.shape[1]),
            out.new_empty(products, out.shape[1]))


def add_up(block: Block, products: Tensor) -> Tensor:
    """Return the sums of the products that belong to each output row of the block."""
    order, starts = block.by_row
    return functional.embedding_bag(order, products, starts, mode='sum')


class FewChannelsConvolution(torch.autograd.Function):
    """
    Copy what lies around each voxel into a row and multiply: for features of few channels.

    Pairs of voxels would outweigh the features by far, above all where the kernel is large (conv1
    of FCGF: 343 offsets). Has no gradient for the features. Memory: `MAX_CELLS` copied values.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, kernel: Tensor, source: Bricks, targets: Tensor, mirrored: bool
    ) -> Tensor:
        """Return (targets, Cout)."""
        ctx.save_for_backward(features, kernel)
        ctx.neighborhoods = source, targets, mirrored
        weight = (kernel.flip(0) if mirrored else kernel).flatten(0, 1)
        out = features.new_empty(len(targets), kernel.shape[2])
        if dispatch.serves(features, kernel):
            size, first = size_of(kernel), 0
            across, reach = offsets(size, mirrored, targets.device)
            for places, cells in source.around(features.squeeze(1), 0, targets, reach):
                rows = native_operators.convolve_lines(cells, places, across[::size], weight)
                out[first:first + len(rows)] = rows
                first += len(rows)
            return out
        for first, around in neighborhoods(features, kernel, source, targets, mirrored):
            torch.mm(around, weight, out=out[first:first + len(around)])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the kernel."""
        features, kernel = ctx.saved_tensors
        source, targets, mirrored = ctx.neighborhoods
        d_weight = torch.zeros_like(kernel).flatten(0, 1)
        for first, around in neighborhoods(features, kernel, source, targets, mirrored):
            d_weight.addmm_(around.t(), gradient[first:first + len(around)])
        d_kernel = d_weight.view_as(kernel)
        return None, d_kernel.flip(0) if mirrored else d_kernel, None, None, None


def neighborhoods(
    features: Tensor, kernel: Tensor, source: Bricks, targets: Tensor, mirrored: bool
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first of some targets and the features around each, (R, K^3 Cin), 0 if empty."""
    size, channels = size_of(kernel), features.shape[1]
    across, reach = offsets(size, mirrored, targets.device)
    most = max(1, MAX_CELLS // (len(across) * channels))
    first = 0
    # A single channel is looked up four times as fast without its dimension.
    for places, cells in source.around(features.squeeze(1), 0, targets, reach):
        # Cells that follow one another in x do so in memory: one copy for each line of a kernel.
        lines = cells.as_strided((len(cells) - size + 1, size * channels), (channels, 1))
        for some in places.split(most):
            around = lines.index_select(0, (some[:, None] + across[::size]).view(-1))
            yield first, around.view(len(some), -1)
            first += len(some)
