# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cache of a session on disk: what was computed is not computed again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from itertools import count
import logging
from pathlib import Path
import sqlite3
from threading import Lock
import time
from typing import Any
from zlib import crc32

from mvreg_ros.cache import KINDS, Known
import numpy as np
from safetensors.numpy import load, save
import torch
from torch import Tensor

LOGGER = logging.getLogger(__name__)
NAME = 'cache.sqlite'
COMMIT_SECONDS = 1.0
# Bytes, the most that SQLite has: what is as large as features is read several times as fast.
PAGE_SIZE = 65536
# KiB of pages that SQLite keeps: enough for the keys of some 100,000 results.
PAGES_KIB = 16384

# Classes by their names and fields: what an older version wrote in another form is not known.
NAMES: dict[type, bytes] = {
    kind: f'{kind.__name__} {[(each.name, each.type) for each in fields(kind)]}'.encode()
    for kind in KINDS
}
BY_NAME = {name: kind for kind, name in NAMES.items()}


class SessionCache:
    """
    A `Cache` in a database in the folder of a session.

    Nothing depends on it but time: what is damaged is computed again, and where the disk cannot be
    written nothing is kept. The log says so.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        """Open the database; what is recalled is put on `device`."""
        self._path = folder / NAME
        self._device = device
        self._lock = Lock()
        self._database: sqlite3.Connection | None = None
        with self._trouble():
            self._open()

    def find(self, key: str) -> Any:
        """Return what is known under `key`, None where that is nothing."""
        with self._lock, self._trouble():
            return self._load(key)
        return None

    def keep(self, key: str, result: Known) -> None:
        """Know a result from now on."""
        with self._lock, self._trouble():
            if key:
                self._store(key, result)

    def settle(self) -> None:
        """Write down what is not yet written."""
        with self._lock, self._trouble():
            self._commit()

    def close(self) -> None:
        """Write down what is not yet written, and close the database."""
        self.settle()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> None:
        self._database = sqlite3.connect(self._path, check_same_thread=False)
        self._database.execute(f'PRAGMA page_size = {PAGE_SIZE}')
        self._database.execute(f'PRAGMA cache_size = -{PAGES_KIB}')
        self._database.execute('PRAGMA synchronous = NORMAL')
        self._database.execute(
            'CREATE TABLE IF NOT EXISTS results '
            '(key TEXT PRIMARY KEY, kind BLOB, checksum INTEGER, value BLOB)')
        self._committed = time.monotonic()

    def _load(self, key: str) -> Any:
        if self._database is None:
            return None
        row = self._database.execute(
            'SELECT kind, checksum, value FROM results WHERE key = ?', (key,)).fetchone()
        if row is None or row[0] not in BY_NAME:
            return None
        kind, checksum, value = row
        if type(value) is not bytes or checksum != crc32(value):
            LOGGER.warning('%s: a result is damaged and is computed again', self._path)
            return None
        return _decoded(BY_NAME[kind], value, self._device)

    def _store(self, key: str, result: Known) -> None:
        if self._database is None:
            return
        value = _encoded(result)
        self._database.execute(
            'INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)',
            (key, NAMES[type(result)], crc32(value), value))
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        if self._database is not None:
            self._database.commit()
            self._committed = time.monotonic()

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Go on without the database where it fails, and with a new one where it is damaged."""
        try:
            yield
        except sqlite3.Error as error:
            if self._database is not None:
                self._database.close()
                self._database = None
            LOGGER.warning('%s: %s; what is not known will be computed again', self._path, error)
            if type(error) is sqlite3.DatabaseError:  # and no kind of it: damaged
                self._begin_anew()

    def _begin_anew(self) -> None:
        """Give the damaged database another name, with what belongs to it."""
        aside = next(
            path for number in count(1)
            if not (path := self._path.with_name(f'damaged{number}-{NAME}')).exists())
        try:
            self._path.rename(aside)
            with suppress(FileNotFoundError):
                self._path.with_name(f'{NAME}-journal').rename(f'{aside}-journal')
            self._open()
            LOGGER.warning('the damaged file is now %s', aside)
        except (OSError, sqlite3.Error) as error:
            LOGGER.warning('%s cannot be begun anew: %s', self._path, error)


def _encoded(result: Known) -> bytes:
    """Return a result as safetensors; its key is not part of it."""
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    return save({
        # In C order: safetensors writes the memory as it lies.
        name: value.cpu().numpy() if isinstance(value, Tensor) else np.array(value, order='C')
        for name, value in values.items() if value is not None and not isinstance(value, str)})


def _decoded(kind: type, content: bytes, device: torch.device) -> Any:
    """Return what `_encoded` was given, bit for bit."""
    make: dict[Any, Callable[[np.ndarray], object]] = {
        'Tensor': partial(torch.tensor, device=device), 'FloatArray': np.array, 'int': int,
        'float': float}
    make['Tensor | None'] = make['Tensor']
    arrays = load(content)
    return kind(**{
        field.name: make[field.type](arrays[field.name])
        for field in fields(kind) if field.name in arrays})
