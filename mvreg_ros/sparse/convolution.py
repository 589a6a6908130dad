# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution over the pairs of a kernel map, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mvreg_ros.sparse import native_convolution
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

    Memory: `MAX_PAIRS` rows of the channels of the result; of the input, in the backward pass
    those of the features. The native kernel takes none, where it serves.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, kernel: Tensor, blocks: list[Block], rows: int,
        adjoint: Callable[[], tuple[list[Block], bool]],
    ) -> Tensor:
        """Return (rows, Cout); adjoint: the map back, and whether it has the kernel flipped."""
        ctx.save_for_backward(features, kernel)
        ctx.blocks, ctx.adjoint = blocks, adjoint
        if native_convolution.serves(features, kernel):
            return native_convolution.convolve_pairs(features, kernel, blocks, rows)
        out = features.new_empty(rows, kernel.shape[2])
        products = products_of(blocks, out)
        kernels = kernel.unbind()
        for block in blocks:
            pairs = zip(block.inputs.split(block.counts), kernels,
                        products[:len(block.inputs)].split(block.counts), strict=True)
            # One offset at a time, so that what was gathered is multiplied while in the cache.
            for inputs, weight, product in pairs:
                torch.mm(features.index_select(0, inputs), weight, out=product)
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
        if not native_convolution.serves(features, kernel):
            d_features, d_kernel = gradients(
                features, kernel, gradient, blocks, flipped, needs_features, needs_kernel)
        else:
            if needs_features:
                adjoint = (kernel.flip(0) if flipped else kernel).transpose(1, 2)
                d_features = native_convolution.convolve_pairs(
                    gradient, adjoint, blocks, len(features))
            if needs_kernel:
                d_kernel = native_convolution.kernel_gradient(
                    features, gradient, ctx.blocks, len(kernel))
        return d_features, d_kernel, None, None, None


def gradients(
    features: Tensor, kernel: Tensor, gradient: Tensor, blocks: list[Block], flipped: bool,
    needs_features: bool, needs_kernel: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of features and kernel, from one gather of `gradient`."""
    d_features = torch.empty_like(features)
    d_kernel = torch.zeros_like(kernel)
    products = products_of(blocks, d_features)
    weights = list(zip(kernel.transpose(1, 2).unbind(), d_kernel.unbind(), strict=True))
    if flipped:
        weights.reverse()
    for block in blocks:
        pairs = zip(block.inputs.split(block.counts), block.outputs.split(block.counts),
                    weights, products[:len(block.inputs)].split(block.counts), strict=True)
        for inputs, outputs, (weight, d_weight), product in pairs:
            gathered = gradient.index_select(0, inputs)
            if needs_kernel:
                some = features[block.first:block.last].index_select(0, outputs)
                d_weight.addmm_(some.t(), gathered)
            if needs_features:
                torch.mm(gathered, weight, out=product)
        if needs_features:
            d_features[block.first:block.last] = add_up(block, products)
    return d_features if needs_features else None, d_kernel if needs_kernel else None


def products_of(blocks: list[Block], rows: Tensor) -> Tensor:
    """Return memory for the products of any of the blocks, to be added up to rows like these."""
    return rows.new_empty(max((len(b.inputs) for b in blocks), default=0), rows.shape[1])


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
        if native_convolution.serves(features, kernel):
            return native_convolution.convolve_lines(features, kernel, source, targets, mirrored)
        weight = (kernel.flip(0) if mirrored else kernel).flatten(0, 1)
        out = features.new_empty(len(targets), kernel.shape[2])
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
    values = features.squeeze(1) if channels == 1 else features  # four times as fast to look up
    first = 0
    for places, cells in source.around(values, 0, targets, reach):
        # Cells that follow one another in x do so in memory: one copy for each line of a kernel.
        lines = cells.as_strided((len(cells) - size + 1, size * channels), (channels, 1))
        for some in places.split(most):
            around = lines.index_select(0, (some[:, None] + across[::size]).view(-1))
            yield first, around.view(len(some), -1)
            first += len(some)
