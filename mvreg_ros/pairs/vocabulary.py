# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The words that descriptors are told apart by, one set for each kind of descriptor.

They are the centres of k-means on simulated flats; which directions of a descriptor tell places
apart, and how much each word counts, was learned there, see tools/train_vocabulary.py. Another phi
has another feature space: words are for one phi, or for descriptors that nothing was learned for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.types import InputError
from mvreg_ros.weights.files import digest
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

FOLDER = Path(__file__).parent.parent / 'weights'
KEY = 'vocabulary'


@dataclass(frozen=True)
class Vocabulary:
    """
    The words (K, D) of a descriptor, and how fragments are compared by them.

    projection: (D, d) of where descriptors lie off their word. weights: (K,) how much each word
    counts, one in the mean. phi: the digest of its weights, '' where it has none. source: what it
    was made from.
    """

    words: Tensor
    projection: Tensor
    weights: Tensor
    phi: str
    source: str

    def save(self, path: Path) -> None:
        """Write a file for `load_vocabulary`; raises InputError where it cannot be written."""
        metadata = {KEY: json.dumps({'phi': self.phi, 'source': self.source}, sort_keys=True)}
        tensors = {'words': self.words.contiguous(), 'projection': self.projection.contiguous(),
                   'weights': self.weights.contiguous()}
        write_atomic(path, save(tensors, metadata))


def load_vocabulary(path: Path) -> Vocabulary:
    """Return what `Vocabulary.save` wrote."""
    with safe_open(path, framework='pt') as file:
        return Vocabulary(
            *(file.get_tensor(name) for name in ('words', 'projection', 'weights')),
            **json.loads(file.metadata()[KEY]))


def vocabulary_file(features: str) -> Path:
    """Return where the package has the words for a kind of descriptor, if it has them."""
    return FOLDER / f'vocabulary_{features}.safetensors'


def digest_of(phi: Mapping[str, Tensor]) -> str:
    """Return what tells the weights of one phi from those of another, '' for none."""
    return digest({name: tensor.cpu() for name, tensor in phi.items()}) if phi else ''


def phi_of(descriptor: Descriptor) -> dict[str, Tensor]:
    """Return the weights of a descriptor by name; nothing learned has none."""
    network = getattr(descriptor, 'network', None)
    return {} if network is None else network.state_dict()


def vocabulary_for(features: str, phi: Mapping[str, Tensor]) -> Vocabulary:
    """
    Return the words for a kind of descriptor; phi: its weights by name, if it has any.

    Raises InputError where the package has no words for it.
    """
    path = vocabulary_file(features)
    if path.exists():
        vocabulary = load_vocabulary(path)
        if vocabulary.phi == digest_of(phi):
            return vocabulary
    raise InputError(
        'pairs auto knows the descriptors of fpfh and of the weights in the package, no others: '
        'set pairs to all')
