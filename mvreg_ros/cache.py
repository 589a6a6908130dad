# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was computed before and need not be computed again: features of fragments, and pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
import json
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mvreg_ros.device import select_device
from mvreg_ros.native.library import native_kernel
from mvreg_ros.parameters import Value
from mvreg_ros.types import Fragment, FragmentFeatures, PairRegistration
import torch

Computed = TypeVar('Computed', FragmentFeatures, PairRegistration)

# Those that features and pairs depend on, besides weights, device and code.
PARAMETERS = ('method', 'features', 'sparse_engine', 'voxel_size')


class Cache(Protocol):
    """
    Results by keys that say all that they depend on; used from many threads at once.

    What has an empty key is never known.
    """

    def recall(self, key: str, compute: Callable[[], Computed]) -> Computed:
        """Return what is known under `key`, or what `compute` returns and is known from then."""

    def settle(self) -> None:
        """Take note that a registration is done."""


class MemoryCache:
    """Keeps what the last registration used, and what was computed since."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[str, Any] = {}
        self._used: set[str] = set()

    def recall(self, key: str, compute: Callable[[], Computed]) -> Computed:
        """Return what is known under `key`, or what `compute` returns and is known from then."""
        if not key:
            return compute()
        if key not in self._known:
            self._known[key] = compute()
        self._used.add(key)
        result: Computed = self._known[key]
        return result

    def settle(self) -> None:
        """Forget what this registration did not use."""
        self._known = {key: self._known[key] for key in self._used}
        self._used = set()


def method_key(parameters: Mapping[str, Value], weights: Path) -> str:
    """Return what features and pairs depend on besides fragments; weights: the file in use."""
    return json.dumps([
        *(parameters[name] for name in PARAMETERS), str(select_device(str(parameters['device']))),
        sha256(weights.read_bytes()).hexdigest(), native_kernel().library is not None,
        code_digest(Path(__file__).parent), torch.__version__,
    ])


@lru_cache
def code_digest(package: Path) -> str:
    """Return a digest of a package's code: what it computes may change without its version."""
    digest = sha256()
    for path in sorted(path for path in package.rglob('*') if path.suffix in ('.py', '.c')):
        digest.update(f'{path.relative_to(package).as_posix()}\n'.encode() + path.read_bytes())
    return digest.hexdigest()


def features_key(method: str, fragment: Fragment) -> str:
    """Return the key of the features of a fragment by its content."""
    content = sha256(method.encode())
    content.update(fragment.sensor_origin.tobytes())
    content.update(fragment.points.tobytes())
    return content.hexdigest()


def pair_key(features_i: FragmentFeatures, features_j: FragmentFeatures) -> str:
    """Return the key of what is computed from two fragments, '' where one is without."""
    keys = features_i.key, features_j.key
    return ' '.join(keys) if all(keys) else ''
