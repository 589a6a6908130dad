# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was computed before and need not be again: features of fragments, pairs, edges."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
import json
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mvreg_ros.cancellation import raise_if_cancelled
from mvreg_ros.device import select_device
from mvreg_ros.native.library import native_kernel
from mvreg_ros.parallel import Item, Mapper
from mvreg_ros.parameters import Value
from mvreg_ros.types import (
    Aggregated,
    Contradiction,
    FirstLook,
    Fragment,
    FragmentFeatures,
    PairRegistration,
    RefinedEdge,
)

KINDS = (FragmentFeatures, Aggregated, PairRegistration, FirstLook, RefinedEdge, Contradiction)
Known = (FragmentFeatures | Aggregated | PairRegistration | FirstLook | RefinedEdge
         | Contradiction)
Computed = TypeVar(
    'Computed', FragmentFeatures, Aggregated, PairRegistration, FirstLook, RefinedEdge)

# Those that features and pairs depend on, besides weights, device and code.
PARAMETERS = ('method', 'features', 'sparse_engine', 'voxel_size')
LIBRARIES = ('numpy', 'scipy', 'small_gicp', 'torch')


class Cache(Protocol):
    """Results by keys that say all that they depend on; what has an empty key is never known."""

    def find(self, key: str) -> Any:
        """Return what is known under `key`, None where that is nothing."""

    def keep(self, key: str, result: Known) -> None:
        """Know a result from now on."""

    def settle(self) -> None:
        """Take note that a registration is done."""


class MemoryCache:
    """Keeps what the last registration used, and what was computed since."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[str, Any] = {}
        self._used: set[str] = set()

    def find(self, key: str) -> Any:
        """Return what is known under `key`, None where that is nothing."""
        if key in self._known:
            self._used.add(key)
        return self._known.get(key)

    def keep(self, key: str, result: Known) -> None:
        """Know a result from now on."""
        if key:
            self._known[key] = result
            self._used.add(key)

    def settle(self) -> None:
        """Forget what this registration did not use."""
        self._known = {key: self._known[key] for key in self._used}
        self._used = set()


def recalled(
    cache: Cache, keys: Sequence[str], mapper: Mapper, function: Callable[[Item], Computed],
    items: Sequence[Item],
) -> Generator[Computed, None, None]:
    """
    Yield function(item) in the order of the items; what is known by its key is not computed.

    A result is known from when it is yielded. Close the iterator to stop what is under way.
    """
    known: list[Computed | None] = []
    for key in keys:
        raise_if_cancelled()
        known.append(cache.find(key))
    unknown = [item for item, found in zip(items, known, strict=True) if found is None]
    with closing(mapper.map(function, unknown)) as computed:
        for key, found in zip(keys, known, strict=True):
            if found is None:
                found = next(computed)
                cache.keep(key, found)
            yield found


def method_key(parameters: Mapping[str, Value], weights: Path) -> str:
    """Return what features and pairs depend on besides fragments; weights: the file in use."""
    return json.dumps([
        *(parameters[name] for name in PARAMETERS), str(select_device(str(parameters['device']))),
        sha256(weights.read_bytes()).hexdigest(), native_kernel().library is not None,
        code_digest(Path(__file__).parent), *map(version, LIBRARIES),
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
