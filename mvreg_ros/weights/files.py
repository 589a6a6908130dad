# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weights as files of our own: safetensors, which hold numbers and texts and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path

from mvreg_ros.data.files import write_atomic
from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.types import InputError
from mvreg_ros.weights.checkpoint import is_checkpoint, one_line
from mvreg_ros.weights.layout import check
from safetensors import safe_open
from safetensors.torch import save
import torch
from torch import Tensor

VERSION = 1
# All metadata is one text: safetensors writes several in any order.
KEY = 'mvreg_ros'


@dataclass(frozen=True)
class Weights:
    """
    The weights of some or all parts of the network, under the names of `Lmpcr`.

    metadata: 'config', the JSON of an `LmpcrConfig`, and texts on where they come from: 'source',
    and for what was trained here also the settings, the data, the commit and the figures. A
    checksum stands beside them in the file.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def config(self) -> LmpcrConfig:
        """Return the sizes of the network and the voxel size that it was trained with."""
        return LmpcrConfig.from_json(self.metadata['config'])


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """
    Write weights under the names of `Lmpcr`, in float32, so that `load_weights` reads them.

    metadata: see `Weights`. Raises InputError where they are not whole parts of that network, or
    the file cannot be written.
    """
    weights = Weights(dict(tensors), dict(metadata))
    check(weights.tensors, weights.config)
    plain = {
        name: tensor.detach().to(
            'cpu', torch.float32 if tensor.is_floating_point() else torch.int64).contiguous()
        for name, tensor in weights.tensors.items()
    }
    text = json.dumps(
        {**metadata, 'version': VERSION, 'sha256': digest(plain)}, sort_keys=True)
    write_atomic(path, save(plain, {KEY: text}))


def load_weights(path: Path) -> Weights:
    """
    Return the weights in a file of `save_weights`, on the CPU.

    Raises InputError where it is no such file, damaged, without a checksum, or of a newer version.
    """
    if is_checkpoint(path):
        raise InputError(f'{path}: is a torch checkpoint, first convert it: '
                         f'mvreg weights convert {path} --out FILE.safetensors')
    try:
        with safe_open(path, framework='pt') as file:
            metadata = own_metadata(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        weights = Weights(tensors, metadata)
        check(tensors, weights.config)
        checksum = metadata.pop('sha256', '')
        if not checksum:
            raise InputError('was written before files had a checksum: train or convert it again')
        if checksum != digest(tensors):
            raise InputError('holds other numbers than were written: download or convert it again')
    except InputError as error:
        raise InputError(f'{path}: {one_line(error)}') from error
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f'{path}: is neither a torch checkpoint nor a whole file of weights '
                         f'({one_line(error)}): download or convert it again') from error
    return weights


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the names, shapes and numbers of tensors."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(f'{name} {tuple(tensors[name].shape)}'.encode())
        found.update(tensors[name].numpy().tobytes())
    return found.hexdigest()


def own_metadata(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that `save_weights` wrote; raises InputError where it did not."""
    if KEY not in texts:
        raise InputError('is a safetensors file, but not of mvreg_ros: '
                         'take one that mvreg weights convert made')
    metadata = json.loads(texts[KEY])
    version = metadata.pop('version')
    if version > VERSION:
        raise InputError(f'has the format {version} of a newer mvreg_ros, this one reads '
                         f'{VERSION}: update mvreg_ros')
    return metadata
