# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Graph theory on edges: components, maximum spanning forest, bridges, poses along a tree."""

from __future__ import annotations

from collections import Counter

from mvreg_ros.types import FloatArray
import networkx
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

Index = NDArray[np.int64]


def adjacency(count: int, i: Index, j: Index, values: NDArray) -> csr_matrix:
    """Return the (count, count) sparse matrix with values at (i, j)."""
    return coo_matrix((values, (i, j)), shape=(count, count)).tocsr()


def components(count: int, i: Index, j: Index) -> Index:
    """
    Return (count,) the component of each node, the largest first; -1 for a node without edges.

    Components of equal size come in the order of their first node.
    """
    _, label = connected_components(adjacency(count, i, j, np.ones(len(i))), directed=False)
    size = np.bincount(label)
    first = np.full(len(size), count)
    np.minimum.at(first, label, np.arange(count))
    rank = np.empty_like(size)
    rank[np.lexsort((first, -size))] = np.arange(len(size))
    return np.where(size[label] > 1, rank[label], -1).astype(np.int64)


def maximum_spanning_forest(count: int, i: Index, j: Index, support: FloatArray) -> NDArray:
    """Return (E,) True for the edges of the spanning forest with the largest support in all."""
    # scipy minimises, and takes zero for a missing edge: rank the edges instead of negating them.
    cost = np.empty(len(i))
    cost[np.argsort(-support, kind='stable')] = 1 + np.arange(len(i))
    tree = minimum_spanning_tree(adjacency(count, i, j, cost))
    chosen = np.zeros(len(i) + 1, bool)
    chosen[tree.data.astype(np.int64)] = True
    return chosen[cost.astype(np.int64)]


def bridges(i: Index, j: Index) -> NDArray:
    """
    Return (E,) True for the edges without which their component would fall apart.

    Of two edges between the same nodes neither is one; i < j.
    """
    pairs = list(zip(i.tolist(), j.tolist(), strict=True))
    times = Counter(pairs)
    cut = {tuple(sorted(pair)) for pair in networkx.bridges(networkx.Graph(pairs))}
    return np.array([pair in cut and times[pair] == 1 for pair in pairs], bool)


def chain_poses(count: int, i: Index, j: Index, T_i_j: FloatArray) -> FloatArray:
    """
    Return (count, 4, 4) poses by walking the edges of a spanning tree outwards from node 0.

    Node 0 sits at the identity.
    """
    poses = np.tile(np.eye(4), (count, 1, 1))
    number = adjacency(count, i, j, 1 + np.arange(len(i)))
    both = number + number.T
    order, parent = breadth_first_order(both, 0, directed=False)
    for node in order[1:]:
        edge = int(both[parent[node], node]) - 1
        step = T_i_j[edge] if i[edge] == parent[node] else np.linalg.inv(T_i_j[edge])
        poses[node] = poses[parent[node]] @ step
    return poses
