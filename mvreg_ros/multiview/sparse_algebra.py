# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Eigenvectors and linear systems of graph Laplacians, differentiable in the entries.

Small matrices are dense, by LAPACK; large ones stay sparse, their gradients too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mvreg_ros.types import FloatArray
import numpy as np
from scipy.sparse import coo_matrix, csc_matrix, identity
from scipy.sparse.linalg import eigsh, LinearOperator, splu
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Above this many rows a sparse solver is faster than LAPACK even where all nodes are linked.
DENSE_ROWS = 240
# Relative to the largest eigenvalue, where two eigenvalues are taken for one.
MIN_GAP = 1e-12


class SparseMatrix(NamedTuple):
    """
    A square matrix of `size` rows; entries at the same place add up.

    rows, cols: (nnz,) int64. entries: (nnz,) float64, on the CPU.
    """

    size: int
    rows: Tensor
    cols: Tensor
    entries: Tensor

    def dense(self) -> Tensor:
        """Return (size, size)."""
        flat = self.entries.new_zeros(self.size * self.size)
        return flat.index_add(0, self.rows * self.size + self.cols, self.entries).view(
            self.size, self.size)

    def scipy(self) -> csc_matrix:
        """Return the matrix as scipy has it, without gradient."""
        entries, rows, cols = (x.detach().numpy() for x in (self.entries, self.rows, self.cols))
        return coo_matrix((entries, (rows, cols)), (self.size, self.size)).tocsc()


def block_laplacian(count: int, i: Tensor, j: Tensor, blocks: Tensor, c: Tensor) -> SparseMatrix:
    """
    Return L = D - A of Eq. 29-31, with A_ij = c_ij blocks_ij and A_ji its transpose.

    i, j: (E,) nodes; blocks: (E, d, d); c: (E,). The matrix has d rows for each node.
    """
    d = blocks.shape[-1]
    axis = torch.arange(d)
    rows = (d * i[:, None, None] + axis[:, None]).expand(blocks.shape).reshape(-1)
    cols = (d * j[:, None, None] + axis).expand(blocks.shape).reshape(-1)
    A = (c[:, None, None] * blocks).reshape(-1)
    degree = c.new_zeros(count).index_add(0, torch.cat([i, j]), torch.cat([c, c]))
    diagonal = torch.arange(d * count)
    return SparseMatrix(
        d * count, torch.cat([diagonal, rows, cols]), torch.cat([diagonal, cols, rows]),
        torch.cat([degree.repeat_interleave(d), -A, -A]),
    )


def bordered(A: SparseMatrix, V: Tensor, shift: float = 0.0, corner: float = 0.0) -> SparseMatrix:
    """Return [[A - shift, V], [V^T, corner]], V (size, k): sparse where A + V V^T would not be."""
    k = V.shape[1]
    row, col = (x.reshape(-1) for x in torch.meshgrid(
        torch.arange(A.size), A.size + torch.arange(k), indexing='ij'))
    diagonal = torch.arange(A.size + k)
    values = V.new_tensor([-shift] * A.size + [corner] * k)
    border = V.reshape(-1)
    return SparseMatrix(
        A.size + k, torch.cat([A.rows, diagonal, row, col]),
        torch.cat([A.cols, diagonal, col, row]), torch.cat([A.entries, values, border, border]),
    )


class SparseSolve(torch.autograd.Function):
    """x of A x = b by sparse LU, and the gradient of the entries of A and of b."""

    @staticmethod
    def forward(ctx: Any, entries: Tensor, rows: Tensor, cols: Tensor, b: Tensor) -> Tensor:
        """Return x (size, k) for b (size, k)."""
        ctx.lu = splu(SparseMatrix(len(b), rows, cols, entries).scipy())
        x = torch.from_numpy(ctx.lu.solve(b.detach().numpy()))
        ctx.save_for_backward(rows, cols, x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, Tensor]:
        """Return y = A^-T grad for b, and -y_row x_col for each entry."""
        rows, cols, x = ctx.saved_tensors
        y = torch.from_numpy(ctx.lu.solve(grad.numpy(), 'T'))
        return -(y[rows] * x[cols]).sum(1), None, None, y


def solve(A: SparseMatrix, b: Tensor) -> Tensor:
    """Return x (size, k) of A x = b, b (size, k)."""
    if A.size <= DENSE_ROWS:
        return torch.linalg.solve(A.dense(), b)
    return SparseSolve.apply(A.entries, A.rows, A.cols, b)


def smallest_sparse(L: csc_matrix) -> tuple[FloatArray, FloatArray]:
    """
    Return the three smallest eigenvalues of a symmetric positive matrix (size, size), and vectors.

    By shift and invert. Without pivots, which a positive matrix does not need, rows can be ordered
    so that few entries of its factor are not zero.
    """
    sigma = -1e-6 * L.diagonal().max()
    shifted = (L - sigma * identity(L.shape[0], format='csc')).tocsc()
    factor = splu(
        shifted, permc_spec='MMD_AT_PLUS_A', diag_pivot_thresh=0.0,
        options={'SymmetricMode': True})
    inverse = LinearOperator(L.shape, matvec=factor.solve, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=L.shape[0])
    values, vectors = eigsh(L, k=3, sigma=sigma, OPinv=inverse, v0=start)
    return values, vectors


class SmallestEigenvectors(torch.autograd.Function):
    """
    V (size, 3), eigenvectors of the three smallest eigenvalues of a symmetric positive matrix L.

    For a step dL, (L - l_k) dv_k = -dL v_k but for what lies in the space of V itself. That part,
    where eigenvalues that coincide would be divided by their difference, only turns V in its
    space: left out, what does not depend on the choice of the basis has its right gradient.
    """

    @staticmethod
    def forward(ctx: Any, entries: Tensor, rows: Tensor, cols: Tensor, size: int) -> Tensor:
        """Return V; only what is made of it for any orthonormal basis of its space counts."""
        L = SparseMatrix(size, rows, cols, entries)
        if size <= DENSE_ROWS:
            values, vectors = torch.linalg.eigh(L.dense())
        else:
            values, vectors = map(torch.from_numpy, smallest_sparse(L.scipy()))
        ctx.save_for_backward(entries, rows, cols, values, vectors)
        return vectors[:, :3].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """Return x_row v_col for each entry, with x = -(L - l)^+ grad."""
        entries, rows, cols, values, vectors = ctx.saved_tensors
        V, size = vectors[:, :3], len(vectors)
        if size <= DENSE_ROWS:
            others = vectors[:, 3:]
            gap = values[3:, None] - values[:3]
            distinct = gap > MIN_GAP * values[-1]
            inverse = torch.where(distinct, 1 / torch.where(distinct, gap, 1.0), 0.0)
            x = -others @ (inverse * (others.T @ grad))
        else:
            # With V at the border the solution is in the complement of V, where L - l is regular.
            L = SparseMatrix(size, rows, cols, entries)
            right = torch.cat([grad, grad.new_zeros(3, 3)])
            x = -torch.cat([
                solve(bordered(L, V, float(values[k])), right[:, k: k + 1]) for k in range(3)
            ], 1)[:size]
        return (x[rows] * V[cols]).sum(1), None, None, None


def smallest_eigenvectors(L: SparseMatrix) -> Tensor:
    """Return (size, 3), see `SmallestEigenvectors`."""
    V: Tensor = SmallestEigenvectors.apply(L.entries, L.rows, L.cols, L.size)
    return V
