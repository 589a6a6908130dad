# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A file of entries that is only ever added to, one line of JSON each, with a checksum.

Whoever has appended an entry will read it again, whatever happens to the process or the power.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
import json
import os
from pathlib import Path
from typing import Any

from mvreg_ros.data.files import write_atomic
from mvreg_ros.types import InputError

Entry = Mapping[str, Any]


def create_journal(path: Path, header: Entry) -> None:
    """Write a journal with a first entry; raises InputError where that cannot be done."""
    write_atomic(path, _line(header))


def append_entry(path: Path, entry: Entry) -> None:
    """
    Add an entry to the journal and return when it is on the disk.

    Raises InputError where it cannot be written; the journal is then as it was before. A journal
    that somebody has removed is not made anew: it would lack its beginning.
    """
    try:
        with path.open('r+b', buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                data = _line(entry)
                file.seek(max(size - 1, 0))
                if size and file.read(1) != b'\n':  # the line before was cut off
                    data = b'\n' + data
                while data:
                    data = data[file.write(data):]
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(size)
                raise
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror}') from error


def read_journal(path: Path) -> list[Entry | None]:
    """
    Return the entry of each line, None where a line is damaged.

    Raises InputError where the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror}') from error
    return [_entry(line) for line in content.removesuffix(b'\n').split(b'\n')]


def _line(entry: Entry) -> bytes:
    return json.dumps({'sha256': _checksum(entry), 'entry': entry}).encode() + b'\n'


def _entry(line: bytes) -> Entry | None:
    try:
        record = json.loads(line)
        entry = record['entry']
        return entry if isinstance(entry, dict) and record['sha256'] == _checksum(entry) else None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _checksum(entry: Entry) -> str:
    return sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
