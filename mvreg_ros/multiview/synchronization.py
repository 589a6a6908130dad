# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Transformation synchronisation in closed form (Eq. 5-6, solved by Eq. 28-34).

The paper's M_i maps the map into scan i; ours is the inverse, T_map_i, and an edge is
T_i_j = T_map_i^-1 T_map_j, the right column of the two conventions that the paper mixes.
"""

from __future__ import annotations

from mvreg_ros.multiview.graph import Index
from mvreg_ros.types import FloatArray
import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import eigsh, splu

# Above this many rows a sparse solver is faster than LAPACK.
DENSE_ROWS = 900


def block_laplacian(
    count: int, i: Index, j: Index, R_i_j: FloatArray, c: FloatArray
) -> csr_matrix:
    """Return L = D - A of Eq. 29-31: (3 count, 3 count), A_ij = c_ij R_ij."""
    axis = np.arange(3)
    rows = np.broadcast_to(3 * i[:, None, None] + axis[:, None], R_i_j.shape).ravel()
    cols = np.broadcast_to(3 * j[:, None, None] + axis, R_i_j.shape).ravel()
    values = (c[:, None, None] * R_i_j).ravel()
    A = coo_matrix((values, (rows, cols)), shape=(3 * count, 3 * count))
    degree = np.bincount(np.r_[i, j], np.r_[c, c], count)
    diagonal = np.arange(3 * count)
    D = coo_matrix((np.repeat(degree, 3), (diagonal, diagonal)), shape=A.shape)
    return (D - A - A.T).tocsr()


def smallest_eigenvectors(L: csr_matrix) -> FloatArray:
    """Return (rows, 3), the eigenvectors of the three smallest eigenvalues of a Laplacian."""
    if L.shape[0] <= DENSE_ROWS:
        return np.linalg.eigh(L.toarray())[1][:, :3]
    scale = L.diagonal().max()
    start = np.random.default_rng(0).normal(size=L.shape[0])
    return eigsh(L, k=3, sigma=-1e-6 * scale, v0=start)[1]


def nearest_rotations(M: FloatArray) -> FloatArray:
    """Return the rotations nearest to matrices (..., 3, 3) in the Frobenius norm."""
    u, _, vh = np.linalg.svd(M)
    u[..., 2] *= np.linalg.det(u @ vh)[..., None]
    return u @ vh


def synchronize_rotations(
    count: int, i: Index, j: Index, R_i_j: FloatArray, c: FloatArray
) -> FloatArray:
    """
    Return (count, 3, 3) rotations R_map_i of a connected graph that fit R_ij best (Eq. 28).

    i, j: (E,) nodes; R_i_j: (E, 3, 3); c: (E,) confidences > 0. Node 0 gets the identity.
    """
    V = smallest_eigenvectors(block_laplacian(count, i, j, R_i_j, c)).reshape(count, 3, 3)
    if np.linalg.det(V).sum() < 0:  # eigenvectors have no sign: choose the one without reflection
        V = V * [1, 1, -1]
    R = nearest_rotations(V).transpose(0, 2, 1)
    return R[0].T @ R


def synchronize_translations(
    count: int, i: Index, j: Index, t_i_j: FloatArray, c: FloatArray, R_map: FloatArray
) -> FloatArray:
    """
    Return (count, 3) translations t_map_i of a connected graph that fit t_ij best (Eq. 32).

    With the synchronised rotations in place of the measured ones Eq. 33 falls apart into three
    scalar Laplacian systems with one right-hand side each: t_j - t_i = R_i t_ij. Node 0 is at 0.
    """
    step = c[:, None] * np.einsum('eab,eb->ea', R_map[i], t_i_j)
    b = np.zeros((count, 3))
    np.add.at(b, j, step)
    np.add.at(b, i, -step)
    rows, cols, values = np.r_[i, j, i, j], np.r_[i, j, j, i], np.r_[c, c, -c, -c]
    L = coo_matrix((values, (rows, cols)), shape=(count, count)).tocsc()
    t = np.zeros((count, 3))
    t[1:] = splu(L[1:, 1:]).solve(b[1:])
    return t


def transf_sync(count: int, i: Index, j: Index, T_i_j: FloatArray, c: FloatArray) -> FloatArray:
    """
    Return (count, 4, 4) poses T_map_i of a connected graph, node 0 at the identity.

    i, j: (E,) nodes; T_i_j: (E, 4, 4); c: (E,) confidences > 0.
    """
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = synchronize_rotations(count, i, j, T_i_j[:, :3, :3], c)
    poses[:, :3, 3] = synchronize_translations(count, i, j, T_i_j[:, :3, 3], c, poses[:, :3, :3])
    return poses
