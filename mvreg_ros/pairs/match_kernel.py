# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How much two fragments look alike, from their descriptors alone and before any is matched.

The aggregated selective match kernel (ASMK; Tolias, Avrithis, Jégou, ICCV 2013), trained to tell
what overlaps as NetVLAD is (Arandjelović et al., CVPR 2016): each descriptor belongs to the
nearest of some words. Of each word a fragment keeps one vector, where on the whole its descriptors
lie off the word, by a learned projection; fragments are compared word by word. A power lets that
count which is nearly the same, and little else: all fragments have walls and floors. How much each
word counts is learned too, see training/likeness.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from mvreg_ros.cache import Cache, recalled
from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.pairs.vocabulary import Vocabulary
from mvreg_ros.parallel import Mapper
from mvreg_ros.types import Aggregated, FloatArray, FragmentFeatures
from mvreg_ros.weights.files import digest
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize


def aggregated(descriptors: Tensor, words: Tensor) -> Tensor:
    """
    Return (K, D) where descriptors (N, D) lie off each of the words (K, D) on the whole.

    Of unit length; zero for a word that none of them belongs to.
    """
    word = (descriptors @ words.T - words.square().sum(1) / 2).argmax(1)
    off = torch.zeros_like(words).index_add_(0, word, descriptors - words[word])
    return normalize(off, dim=1)


def projected(vectors: Tensor, projection: Tensor) -> Tensor:
    """Return (..., K, d) vectors (..., K, D) by the projection (D, d), of unit length or zero."""
    return normalize(vectors @ projection, dim=-1)


@dataclass(frozen=True)
class Aggregate:
    """The function that describes fragment k as a whole, see `Vocabulary`."""

    features: Sequence[FragmentFeatures]
    words: Tensor
    projection: Tensor

    def __call__(self, k: int) -> Aggregated:
        """Return what the fragment has of the words."""
        vectors = aggregated(self.features[k].descriptors.cpu(), self.words)
        return Aggregated(projected(vectors, self.projection))


def match_kernel(vectors: Tensor, weights: Tensor) -> Tensor:
    """
    Return (S, S) how alike fragments are by their vectors (S, K, d): one or less, often much less.

    weights: (K,) how much each word counts, one in the mean.
    """
    total = vectors.new_zeros(len(vectors), len(vectors))
    for word, weight in zip(vectors.unbind(1), weights, strict=True):
        raise_if_cancelled()
        cosine = word @ word.T
        # To the fifth power, in a fraction of the time of torch.pow.
        total = total + weight * (cosine * cosine.square().square())
    return total / len(weights)


def likeness(
    features: Sequence[FragmentFeatures], vocabulary: Vocabulary, mapper: Mapper, cache: Cache
) -> FloatArray:
    """Return (S, S) how alike described fragments are, see `match_kernel`."""
    words = digest({'words': vocabulary.words, 'projection': vocabulary.projection})
    keys = [f'words {words} {feature.key}' if feature.key else '' for feature in features]
    with closing(recalled(
        cache, keys, mapper, Aggregate(features, vocabulary.words, vocabulary.projection),
        range(len(features)),
    )) as found:
        vectors = torch.stack([each.vectors.cpu() for each in found])
    return match_kernel(vectors, vocabulary.weights).numpy().astype(np.float64)
