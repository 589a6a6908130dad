# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution over the pairs of a kernel map, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import threading
from typing import Any

from mvreg_ros.sparse.bricks import Bricks
from mvreg_ros.sparse.kernel_map import Block, offsets, size_of
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Cells around voxels that are written out at the same time.
MAX_CELLS = 2**18

_local = threading.local()


def scratch(name: str, rows: int, like: Tensor) -> Tensor:
    """
    Return an uninitialised (rows, channels of `like`) tensor that this thread uses again.

    A fresh one for every block would cost more in page faults than the arithmetic.
    """
    buffers = _local.__dict__.setdefault('buffers', {})
    key = name, like.device, like.dtype
    size = rows * like.shape[1]
    if key not in buffers or len(buffers[key]) < size:
        buffers[key] = like.new_empty(size)
    return buffers[key][:size].view(rows, like.shape[1])


class SparseConvolution(torch.autograd.Function):
    """
    Gather, multiply and add up, block by block of output rows; double backward is not supported.

    Scratch: `MAX_PAIRS` rows of Cin and of Cout channels, in the backward pass another of Cin.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, kernel: Tensor, blocks: list[Block], rows: int,
        adjoint: Callable[[], tuple[list[Block], bool]],
    ) -> Tensor:
        """Return (rows, Cout); adjoint: the map back, and whether it has the kernel flipped."""
        ctx.save_for_backward(features, kernel)
        ctx.adjoint = adjoint
        out = features.new_empty(rows, kernel.shape[2])
        kernels = kernel.unbind()
        for block in blocks:
            pairs = len(block.inputs)
            gathered = scratch('gathered', pairs, features)
            torch.index_select(features, 0, block.inputs, out=gathered)
            product = scratch('product', pairs, out)
            for g, w, p in zip(
                gathered.split(block.counts), kernels, product.split(block.counts), strict=True
            ):
                torch.mm(g, w, out=p)
            out[block.first:block.last] = add_up(block, product)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of features and kernel, from one gather of `gradient`."""
        features, kernel = ctx.saved_tensors
        needs_features, needs_kernel = ctx.needs_input_grad[:2]
        gradient = gradient.contiguous()
        blocks, flipped = ctx.adjoint()
        d_features = torch.empty_like(features) if needs_features else None
        d_kernel = torch.zeros_like(kernel)
        kernels = list(kernel.transpose(1, 2).unbind())
        d_kernels = list(d_kernel.unbind())
        if flipped:
            kernels.reverse()
            d_kernels.reverse()
        for block in blocks:
            pairs = len(block.inputs)
            gathered = scratch('gathered', pairs, gradient)
            torch.index_select(gradient, 0, block.inputs, out=gathered)
            parts = gathered.split(block.counts)
            if needs_kernel:
                own = scratch('own', pairs, features)
                torch.index_select(features, 0, block.outputs, out=own)
                for g, f, d in zip(parts, own.split(block.counts), d_kernels, strict=True):
                    d.addmm_(f.t(), g)
            if d_features is not None:
                product = scratch('product', pairs, features)
                for g, w, p in zip(parts, kernels, product.split(block.counts), strict=True):
                    torch.mm(g, w, out=p)
                d_features[block.first:block.last] = add_up(block, product)
        return d_features, d_kernel if needs_kernel else None, None, None, None


class FewChannelsConvolution(torch.autograd.Function):
    """
    Copy what lies around each voxel into a row and multiply: for features of few channels.

    Pairs of voxels would outweigh the features by far, above all where the kernel is large (conv1
    of FCGF: 343 offsets). Has no gradient for the features. Scratch: `MAX_CELLS` cells.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, kernel: Tensor, source: Bricks, targets: Tensor, mirrored: bool
    ) -> Tensor:
        """Return (targets, Cout)."""
        ctx.save_for_backward(features, kernel)
        ctx.neighborhoods = source, targets, mirrored
        out = features.new_empty(len(targets), kernel.shape[2])
        for first, around in neighborhoods(features, kernel, source, targets, mirrored):
            torch.mm(around, kernel.flatten(0, 1), out=out[first:first + len(around)])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the kernel."""
        features, kernel = ctx.saved_tensors
        d_kernel = torch.zeros_like(kernel).flatten(0, 1)
        for first, around in neighborhoods(features, kernel, *ctx.neighborhoods):
            d_kernel.addmm_(around.t(), gradient[first:first + len(around)])
        return None, d_kernel.view_as(kernel), None, None, None


def neighborhoods(
    features: Tensor, kernel: Tensor, source: Bricks, targets: Tensor, mirrored: bool
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first of some targets and the features around each, (R, K^3 Cin), 0 if empty."""
    across, reach = offsets(size_of(kernel), mirrored, targets.device)
    most = max(1, MAX_CELLS // len(across))
    values = features.squeeze(1) if features.shape[1] == 1 else features
    first = 0
    for places, cells in source.around(values, 0, targets, reach):
        for some in places.split(most):
            around = cells.index_select(0, (some[:, None] + across).view(-1))
            yield first, around.view(len(some), -1)
            first += len(some)


def add_up(block: Block, product: Tensor) -> Tensor:
    """Return the sums of the products (P, C) that belong to each output row of the block."""
    return functional.embedding_bag(block.order, product, block.starts, mode='sum')
