# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints: what torch.save wrote, as a zip archive since 1.6 and before that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
import zipfile

from mvreg_ros.types import InputError
from mvreg_ros.weights.unpickling import StoredTensor, unpickle
from torch import Tensor

ZIP_MAGIC = b'PK\x03\x04'
# The number 0x1950a86a20f9469cfc6c, pickled.
LEGACY_MAGIC = b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.'
# Under which names trainers put the weights beside other things.
WRAPPERS = ('state_dict', 'model')


@dataclass(frozen=True)
class Checkpoint:
    """
    The weights in a file, under the names that they have there.

    container: how they are kept. voxel_size: metres, where the file tells it.
    """

    container: str
    tensors: dict[str, Tensor]
    voxel_size: float | None


def is_checkpoint(path: Path) -> bool:
    """Tell a file of torch.save from others; raises InputError where it cannot be read."""
    try:
        with path.open('rb') as file:
            return file.read(len(LEGACY_MAGIC)).startswith((ZIP_MAGIC, LEGACY_MAGIC))
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror}') from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the weights in a file of torch.save; raises InputError, whatever the file holds."""
    try:
        data = path.read_bytes()
        zipped = data.startswith(ZIP_MAGIC)
        content, storages = read_zip(data) if zipped else read_legacy(data)
        state, wrapper = unwrapped(content)
        if sum(tensor.nbytes for tensor in state.values()) > len(data):
            raise ValueError('its tensors are larger than the file')
        numbers = cache(lambda storage: storage.read(storages(storage.key)))
        tensors = {name: tensor.read(numbers(tensor.storage)) for name, tensor in state.items()}
        container = f'torch {"zip" if zipped else "legacy"}{wrapper}'
        return Checkpoint(container, tensors, voxel_size_of(content))
    except Exception as error:  # a damaged or hostile file may raise anything
        raise InputError(f'{path}: is no usable torch checkpoint ({one_line(error)}): '
                         'take the file as its authors published it') from error


def one_line(error: Exception) -> str:
    """Return what an exception says, in one line; names in it may come from a hostile file."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if text.isprintable() else ascii(text)


Content = tuple[object, Callable[[str], bytes]]


def read_zip(data: bytes) -> Content:
    """Return what was saved, and a function from the key of a storage to its bytes."""
    archive = zipfile.ZipFile(BytesIO(data))
    roots = [name.removesuffix('data.pkl') for name in archive.namelist()
             if name.endswith('/data.pkl')]
    if len(roots) != 1:
        raise ValueError('it has no data.pkl')
    root, = roots

    def member(name: str) -> bytes:
        if archive.getinfo(root + name).compress_type != zipfile.ZIP_STORED:
            raise ValueError(f'{name} is compressed')
        return archive.read(root + name)

    if f'{root}byteorder' in archive.namelist() and member('byteorder') != b'little':
        raise ValueError('it comes from a big-endian machine')
    content, _ = unpickle(BytesIO(member('data.pkl')))
    return content, lambda key: member(f'data/{key}')


def read_legacy(data: bytes) -> Content:
    """Return the same of the format before torch 1.6: pickles, then storages one by one."""
    file = BytesIO(data)
    unpickle(file)  # the magic number
    unpickle(file)  # the version of the format, of which there was only one
    system, _ = unpickle(file)
    if not isinstance(system, dict) or system['little_endian'] is not True:
        raise ValueError('it comes from a big-endian machine')
    content, storages = unpickle(file)
    keys, _ = unpickle(file)
    if not isinstance(keys, list):
        raise TypeError('it has no list of storages')
    places = {}
    for key in keys:
        count = int.from_bytes(file.read(8), 'little')
        begin = file.tell()
        end = begin + count * storages[key].dtype.itemsize
        places[key] = slice(begin, end)
        file.seek(end)
    return content, lambda key: data[places[key]]


def unwrapped(content: object) -> tuple[dict[str, StoredTensor], str]:
    """Return the weights and where in the file they were."""
    if not isinstance(content, dict):
        raise TypeError('it holds no names')
    wrapper = next((name for name in WRAPPERS if isinstance(content.get(name), dict)), None)
    state = content[wrapper] if wrapper else content
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
            raise TypeError(f'its entry {name!r:.50} is no tensor')
    return dict(state), f', {wrapper}' if wrapper else ''


def voxel_size_of(content: object) -> float | None:
    """Return the voxel size in the configuration that FCGF saves with its weights."""
    config = content.get('config') if isinstance(content, dict) else None
    size = config.get('voxel_size') if isinstance(config, dict) else None
    return size if isinstance(size, float) and 0 < size < 100 else None
