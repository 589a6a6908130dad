# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Putative correspondences: mutual nearest neighbours in feature space, in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from mvreg_ros.types import Correspondences, FragmentFeatures
from threadpoolctl import threadpool_info
import torch
from torch import Tensor


def products(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b.T of (N, D) and (M, D)."""
    if a.device.type == 'cpu' and numpy_has_openblas():
        return torch.from_numpy(a.detach().numpy() @ b.detach().numpy().T)
    return a @ b.T


@lru_cache(1)
def numpy_has_openblas() -> bool:
    """
    Return whether NumPy brings its own OpenBLAS.

    On an AMD processor with AVX-512 that took half the time of torch's MKL. The NumPy of a
    distribution may have the reference BLAS, which takes many times as long.
    """
    return any(library['internal_api'] == 'openblas' and 'numpy' in library['filepath']
               for library in threadpool_info())


def row_argmax(scores: Tensor) -> Tensor:
    """Return the column of the largest entry of each row, the first of equals."""
    if scores.device.type == 'cpu':  # NumPy's is vectorised and 15 times as fast as torch's here.
        return torch.from_numpy(scores.numpy().argmax(1))
    return scores.argmax(1)


def mutual_nearest_neighbors(
    descriptors_i: Tensor, descriptors_j: Tensor, max_bytes: int = 4_000_000
) -> tuple[Tensor, Tensor]:
    """
    Return the index pairs that are each other's nearest neighbours.

    descriptors_i: (N, D), descriptors_j: (M, D), rows of unit length, so that the nearest has the
    largest inner product. Never holds more than `max_bytes` of the N x M products at once.
    """
    rows = max(1, max_bytes // (4 * max(1, len(descriptors_j))))
    best_j, score_i = [], []
    score_j = descriptors_j.new_full((len(descriptors_j),), -torch.inf)
    for chunk in descriptors_i.split(rows):
        scores = products(chunk, descriptors_j)
        nearest = row_argmax(scores)
        best_j.append(nearest)
        score_i.append(scores.gather(1, nearest[:, None])[:, 0])
        score_j = torch.maximum(score_j, scores.amax(0))
    j = torch.cat(best_j)
    i = (torch.cat(score_i) >= score_j[j]).nonzero()[:, 0]
    # Of equals the first: a descriptor of j has one partner.
    first = j[i].new_full((len(descriptors_j),), len(j)).scatter_reduce(0, j[i], i, 'amin')
    i = i[first[j[i]] == i]
    return i, j[i]


def match(
    i: int, j: int, features_i: FragmentFeatures, features_j: FragmentFeatures,
    min_similarity: float = -1.0, least: int = 0,
) -> Correspondences:
    """
    Return the mutual nearest neighbours of two fragments as point pairs.

    min_similarity: least cosine between their descriptors. least: so many of those that are most
    alike are taken whatever their cosine is; all, where there are fewer.
    """
    rows_i, rows_j = mutual_nearest_neighbors(features_i.descriptors, features_j.descriptors)
    alike = (features_i.descriptors[rows_i] * features_j.descriptors[rows_j]).sum(1)
    taken = alike >= min_similarity
    taken[alike.argsort(descending=True, stable=True)[:least]] = True
    rows_i, rows_j = rows_i[taken], rows_j[taken]
    return Correspondences(
        i, j, rows_i, rows_j, features_i.points[rows_i], features_j.points[rows_j])


def in_context(features: FragmentFeatures) -> FragmentFeatures:
    """Return keypoints that are described with those around them, where they can be."""
    if features.context is None:
        return features
    return replace(features, descriptors=features.context.float(), context=None)


def similar(
    pair: Correspondences, features_i: FragmentFeatures, features_j: FragmentFeatures,
    min_similarity: float,
) -> Correspondences:
    """Return the matches whose descriptors have that cosine at least."""
    rows_i, rows_j = pair.rows_i, pair.rows_j
    alike = (features_i.descriptors[rows_i] * features_j.descriptors[rows_j]).sum(1)
    taken = alike >= min_similarity
    return Correspondences(
        pair.i, pair.j, rows_i[taken], rows_j[taken], pair.points_i[taken], pair.points_j[taken])
