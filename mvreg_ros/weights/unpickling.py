# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Pickles of checkpoints, read without running what stands in them.

torch.load(weights_only=True) would do, were it not that it could be made to run code before torch
2.6 (CVE-2025-32434) and to corrupt memory before 2.10 (CVE-2026-24747).
"""

from __future__ import annotations

from collections import OrderedDict
import math
import pickle
import pickletools
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

DTYPES = {
    'DoubleStorage': torch.float64, 'FloatStorage': torch.float32, 'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16, 'LongStorage': torch.int64, 'IntStorage': torch.int32,
    'ShortStorage': torch.int16, 'CharStorage': torch.int8, 'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
}
# What the published files hold beside weights: scalars of best results.
IGNORED = {
    ('numpy', 'dtype'), ('numpy.core.multiarray', 'scalar'), ('numpy._core.multiarray', 'scalar'),
    ('_codecs', 'encode'),
}


class Storage(NamedTuple):
    """A run of `numel` numbers that the container keeps under `key`."""

    key: str
    dtype: torch.dtype
    numel: int

    def read(self, data: bytes) -> Tensor:
        """Return the numbers, (numel,); raises EOFError where they are not all there."""
        if len(data) != self.numel * self.dtype.itemsize:
            raise EOFError('the numbers of a tensor are not all there')
        return torch.frombuffer(bytearray(data), dtype=self.dtype)


class StoredTensor(NamedTuple):
    """A tensor as a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Return the size of the tensor by itself."""
        return math.prod(self.shape) * self.storage.dtype.itemsize

    def read(self, numbers: Tensor) -> Tensor:
        """Return the tensor out of the numbers of its storage; raises where it lies outside."""
        sizes = (self.offset, *self.shape, *self.stride)
        if not all(type(size) is int and size >= 0 for size in sizes):
            raise pickle.UnpicklingError('the shape of a tensor is broken')
        last = self.offset + sum(
            (size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if last >= len(numbers):
            raise pickle.UnpicklingError('a tensor is larger than its storage')
        view = numbers.as_strided(self.shape, self.stride, self.offset)
        return view.clone(memory_format=torch.contiguous_format)


class Ignored:
    """Stands where something is that nobody needs, whatever is done to it."""

    __slots__ = ()

    def __call__(self, *arguments: object) -> Ignored:
        """Return what a call of it would have made."""
        return self

    def __setstate__(self, state: object) -> None:
        """Take a state and keep nothing."""


class Unpickler(pickle.Unpickler):
    """
    Knows tensors, dictionaries and a few things to ignore; all else is refused by name.

    What it makes and calls has no attributes that a hostile pickle could change, but dictionaries.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read the next pickle of a file; what storages it points to is collected."""
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        """Return what a name in the pickle stands for; nothing is imported."""
        if (module, name) in {('collections', 'OrderedDict'), ('easydict', 'EasyDict')}:
            return OrderedDict
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return self._tensor
        if module in {'torch', 'torch.cuda'} and name in DTYPES:
            return DTYPES[name]
        if (module, name) in IGNORED:
            return Ignored()
        raise pickle.UnpicklingError(f'it asks for {module}.{name:.80}, which no weights need')

    def persistent_load(self, pid: tuple) -> Storage:
        """Return the storage that the pickle points to; its numbers stand elsewhere."""
        kind, dtype, key, _, numel, *view = pid
        if kind != 'storage' or not isinstance(dtype, torch.dtype) or any(view):
            raise pickle.UnpicklingError('a storage is of an unknown kind')
        if type(key) is not str or type(numel) is not int:
            raise pickle.UnpicklingError('a storage is broken')
        storage = Storage(key, dtype, numel)
        if self.storages.setdefault(key, storage) != storage:
            raise pickle.UnpicklingError('a storage is of two kinds')
        return storage

    def _tensor(
        self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...],
        *others: object,
    ) -> StoredTensor:
        if not isinstance(storage, Storage):
            raise pickle.UnpicklingError('a tensor has no storage')
        return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def unpickle(file: BinaryIO) -> tuple[object, dict[str, Storage]]:
    """
    Return the next object of a file, with `StoredTensor`s in it, and the storages by their keys.

    Raises pickle.UnpicklingError for what is not allowed, and for a damaged file any exception.
    """
    begin = file.tell()
    for opcode, argument, _ in pickletools.genops(file):
        # torch writes protocol 2, and numbers what it remembers from 0 on; Python would make room
        # for as much as the largest number asks for.
        too_large = opcode.name.endswith('PUT') and argument not in range(file.tell())
        if opcode.proto > 2 or too_large:
            raise pickle.UnpicklingError(f'it has {opcode.name} {argument!r:.20}')
    end = file.tell()
    file.seek(begin)
    unpickler = Unpickler(file)
    content = unpickler.load()
    file.seek(end)
    return content, unpickler.storages
