# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a stage builds on: the weights of the stage before, and files that are computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path

from mvreg_ros.types import InputError
from mvreg_ros.weights.files import load_weights, Weights
from mvreg_ros.weights.layout import part_of, parts_of
from torch import Tensor

DIGITS = 12  # of a SHA-256 that tell things apart


@dataclass(frozen=True)
class Foundation:
    """Weights as they were when the stage was built; digest: of their file."""

    weights: Weights
    digest: str


def read_foundation(path: str, needed: Sequence[str], cure: str) -> Foundation:
    """
    Return the weights in a file with the parts that are needed.

    cure: what has to be trained where one is missing. Raises InputError as `load_weights`, and
    then.
    """
    file = Path(path).expanduser()
    weights = load_weights(file)
    missing = [part for part in needed if part not in parts_of(weights.tensors)]
    if missing:
        raise InputError(f"{file}: has no {' and no '.join(missing)}: {cure}")
    return Foundation(weights, hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS])


def cache_folder(folder: Path, name: str, *depends: object) -> Path:
    """Return the place below a folder for files that depend on these JSON values and no others."""
    text = json.dumps(depends, sort_keys=True)
    return folder / f'{name}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}'


def with_evidence(before: Weights, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with the confidence of method `consistency`, if there was one before."""
    evidence = {name: tensor for name, tensor in before.tensors.items()
                if part_of(name) == 'evidence'}
    return {**tensors, **evidence}
