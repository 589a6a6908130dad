# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The PLY format, as far as point clouds need it.

Own code because the reader must notice a truncated file and must not care about the faces of a
mesh; the libraries at hand fail at one or the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import re

import numpy as np
from numpy.typing import NDArray

_TYPES = {
    'char': 'i1', 'uchar': 'u1', 'short': 'i2', 'ushort': 'u2', 'int': 'i4', 'uint': 'u4',
    'float': 'f4', 'double': 'f8', 'int8': 'i1', 'uint8': 'u1', 'int16': 'i2', 'uint16': 'u2',
    'int32': 'i4', 'uint32': 'u4', 'int64': 'i8', 'uint64': 'u8', 'float32': 'f4',
    'float64': 'f8',
}
_BYTE_ORDER = {'ascii': '', 'binary_little_endian': '<', 'binary_big_endian': '>'}
_LAST_LINE = re.compile(rb'^end_header[ \t]*\r?\n', re.MULTILINE)


@dataclass
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str]] = field(default_factory=list)
    has_list: bool = False


def decode_ply(content: bytes) -> NDArray[np.float64]:
    """Return the vertices of a PLY file, (N, 3); raise ValueError where it has none, with why."""
    end = _LAST_LINE.search(content)
    if not re.match(rb'ply\s*\n', content) or end is None:
        raise ValueError('the header is missing or incomplete')
    encoding, elements = _header(content[:end.start()].decode('latin-1').splitlines()[1:])
    names = [element.name for element in elements]
    if 'vertex' not in names:
        raise ValueError('it holds no vertices')
    before = elements[:names.index('vertex')]
    vertex = elements[len(before)]
    if not {'x', 'y', 'z'} <= {name for name, _ in vertex.properties}:
        raise ValueError('its vertices have no x, y and z')
    if vertex.has_list:
        raise ValueError('a vertex has a list as property')
    if encoding == 'ascii':
        return _ascii_table(content[end.end():], sum(e.count for e in before), vertex)
    if any(element.has_list for element in before):
        raise ValueError('its vertices are not the first element')
    order = _BYTE_ORDER[encoding]
    offset = end.end() + sum(e.count * _row_type(e, order).itemsize for e in before)
    row = _row_type(vertex, order)
    if offset + vertex.count * row.itemsize > len(content):
        raise ValueError(f'it is truncated: the header announces {vertex.count} vertices')
    table = np.frombuffer(content, row, vertex.count, offset)
    return np.column_stack([table[axis].astype(np.float64) for axis in 'xyz'])


def _header(lines: list[str]) -> tuple[str, list[_Element]]:
    encoding = ''
    elements: list[_Element] = []
    for line in lines:
        match line.split():
            case ['comment' | 'obj_info', *_] | []:
                pass
            case ['format', word, '1.0'] if word in _BYTE_ORDER:
                encoding = word
            case ['element', name, count] if count.isdecimal():
                elements.append(_Element(name, int(count)))
            case ['property', 'list', *_] if elements:
                elements[-1].has_list = True
            case ['property', kind, name] if elements and kind in _TYPES:
                elements[-1].properties.append((name, _TYPES[kind]))
            case _:
                raise ValueError(f'header line not understood: {line[:40]!r}')
    if not encoding:
        raise ValueError('the header names no format')
    return encoding, elements


def _row_type(element: _Element, order: str) -> np.dtype:
    return np.dtype([(name, order + kind) for name, kind in element.properties])


def _ascii_table(body: bytes, skip: int, vertex: _Element) -> NDArray[np.float64]:
    lines = body.decode('latin-1').splitlines()[skip:skip + vertex.count]
    if len(lines) < vertex.count:
        raise ValueError(f'it is truncated: the header announces {vertex.count} vertices')
    if not lines:
        return np.zeros((0, 3))
    names = [name for name, _ in vertex.properties]
    columns = [names.index(axis) for axis in 'xyz']
    return np.loadtxt(lines, comments=None, usecols=columns, ndmin=2)


def encode_ply(points: NDArray, colors: NDArray[np.uint8] | None = None) -> bytes:
    """Return a binary little-endian PLY file of `points` (N, 3), with RGB `colors` (N, 3)."""
    properties = 'property float x\nproperty float y\nproperty float z\n'
    columns = [('xyz', '<f4', 3)]
    if colors is not None:
        properties += 'property uchar red\nproperty uchar green\nproperty uchar blue\n'
        columns.append(('rgb', 'u1', 3))
    table = np.empty(len(points), columns)
    table['xyz'] = points
    if colors is not None:
        table['rgb'] = colors
    header = (f'ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n'
              f'{properties}end_header\n')
    return header.encode() + table.tobytes()
