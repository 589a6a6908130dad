# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Transformation synchronisation in closed form (Eq. 5-6, solved by Eq. 28-34), differentiable.

The paper's M_i maps the map into scan i; ours is the inverse, T_map_i, and an edge is
T_i_j = T_map_i^-1 T_map_j, the right column of the two conventions that the paper mixes.
"""

from __future__ import annotations

from typing import Literal

from mvreg_ros.multiview.sparse_algebra import (
    block_laplacian,
    bordered,
    smallest_eigenvectors,
    solve,
    SparseMatrix,
)
from mvreg_ros.rotations import nearest_rotation
import torch
from torch import Tensor

# What holds the map's origin, relative to the mean confidence, where nothing else does.
ORIGIN_STIFFNESS = 1e-6


def transf_sync(
    count: int, i: Tensor, j: Tensor, T_i_j: Tensor, c: Tensor,
    translations: Literal['measured', 'synchronized'] = 'measured',
) -> Tensor:
    """
    Return (count, 4, 4) poses T_map_i of a connected graph, node 0 at the identity.

    i, j: (E,) nodes; T_i_j: (E, 4, 4) rigid; c: (E,) confidences > 0, of which only the
    ratios count. translations: the rotations that Eq. 32 has with them, those of the edges as in
    the paper or those just synchronised. Computed in float64 on the CPU, returned like T_i_j.
    """
    i, j = i.cpu(), j.cpu()
    T, c = (x.to('cpu', torch.float64) for x in (T_i_j, c))
    c = c / c.detach().mean()
    R_i_j, t_i_j = T[:, :3, :3], T[:, :3, 3]
    L = block_laplacian(count, i, j, R_i_j, c)
    V = smallest_eigenvectors(L)
    R = synchronized_rotations(V)
    if translations == 'measured':
        t = measured_translations(L, V, R, i, j, R_i_j, t_i_j, c)
    else:
        t = synchronized_translations(R, i, j, t_i_j, c)
    poses = torch.eye(4, dtype=T.dtype).repeat(count, 1, 1)
    poses[:, :3, :3], poses[:, :3, 3] = R[0].T @ R, (t - t[0]) @ R[0]
    return poses.to(T_i_j)


def synchronized_rotations(V: Tensor) -> Tensor:
    """
    Return (count, 3, 3) rotations R_map_i, the map turned in any way, that fit R_ij best (Eq. 28).

    V: (3 count, 3) the eigenvectors of the three smallest eigenvalues of Eq. 29.
    """
    blocks = V.view(-1, 3, 3)
    if torch.linalg.det(blocks.detach()).sum() < 0:
        # Eigenvectors have no sign: choose the one without reflection.
        blocks = blocks * blocks.new_tensor([1, 1, -1])
    return nearest_rotation(blocks).transpose(1, 2)


def measured_translations(
    L: SparseMatrix, V: Tensor, R_map: Tensor, i: Tensor, j: Tensor, R_i_j: Tensor, t_i_j: Tensor,
    c: Tensor,
) -> Tensor:
    """
    Return (count, 3) translations t_map_i that fit t_ij best, with the measured rotations.

    Eq. 33-34 in our convention: s_i = R_ij s_j + t_ij for the translations s of T_i_map, hence
    s = L^+ b. Where the rotations contradict each other, L is regular and there is a best origin
    of the map; where they do not, the origin is free, in the space of V: L^+ is taken as
    (L + epsilon V V^T)^-1, which is smooth between the two.
    """
    step = (c[:, None] * t_i_j)[..., None]
    b = step.new_zeros(len(R_map), 3, 1)
    b = b.index_add(0, i, step).index_add(0, j, -R_i_j.transpose(1, 2) @ step)
    held = bordered(L, ORIGIN_STIFFNESS**0.5 * V, corner=-1.0)
    s = solve(held, torch.cat([b.view(-1, 1), b.new_zeros(3, 1)]))[:-3].view(-1, 3, 1)
    return -(R_map @ s)[..., 0]


def synchronized_translations(
    R_map: Tensor, i: Tensor, j: Tensor, t_i_j: Tensor, c: Tensor
) -> Tensor:
    """
    Return (count, 3) translations t_map_i that fit t_ij best, with the synchronised rotations.

    Eq. 33 falls apart into three scalar Laplacian systems: t_j - t_i = R_i t_ij. Node 0 is at 0.
    """
    count = len(R_map)
    step = c[:, None] * (R_map[i] @ t_i_j[..., None])[..., 0]
    b = step.new_zeros(count, 3).index_add(0, j, step).index_add(0, i, -step)
    L = block_laplacian(count, i, j, c.new_ones(len(c), 1, 1), c)
    rest = (L.rows > 0) & (L.cols > 0)
    grounded = SparseMatrix(count - 1, L.rows[rest] - 1, L.cols[rest] - 1, L.entries[rest])
    return torch.cat([b.new_zeros(1, 3), solve(grounded, b[1:])])
