# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files of weights of any format, and what they make together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.types import InputError
from mvreg_ros.weights.checkpoint import is_checkpoint, one_line, read_checkpoint
from mvreg_ros.weights.files import load_weights, Weights
from mvreg_ros.weights.layout import check, infer_config, parts_of, translated
from torch import Tensor

OURS = 'safetensors'  # the container of files that mvreg_ros wrote


@dataclass(frozen=True)
class WeightsFile:
    """
    What a file holds, under our names, every name and shape checked.

    container: the format. voxel_size: metres, None where the file does not tell it. provenance:
    texts that the file holds about itself, none in published ones.
    """

    path: Path
    container: str
    tensors: dict[str, Tensor]
    config: LmpcrConfig
    voxel_size: float | None
    provenance: dict[str, str] = field(default_factory=dict)


def read_weights_file(path: Path) -> WeightsFile:
    """Read a published checkpoint or a file of our own; raises InputError."""
    if not is_checkpoint(path):
        weights = load_weights(path)
        config = weights.config
        provenance = {name: text for name, text in weights.metadata.items() if name != 'config'}
        return WeightsFile(path, OURS, weights.tensors, config, config.voxel_size, provenance)
    checkpoint = read_checkpoint(path)
    try:
        tensors = translated(checkpoint.tensors)
        config = infer_config(tensors, LmpcrConfig())
        check(tensors, config)
    except InputError as error:
        raise InputError(f'{path}: {one_line(error)}') from error
    return WeightsFile(path, checkpoint.container, tensors, config, checkpoint.voxel_size)


def merged(files: Sequence[WeightsFile]) -> Weights:
    """
    Return the parts of all files together; what shapes do not tell is as where phi is.

    Without phi it is as in the first file. What is known of the training is kept where it is of
    one file only. Raises InputError where two hold the same part, or parts that do not fit
    together.
    """
    owner: dict[str, Path] = {}
    tensors: dict[str, Tensor] = {}
    for file in files:
        for part in parts_of(file.tensors):
            if part in owner:
                raise InputError(
                    f'{file.path}: holds {part}, as {owner[part]} does: give one of them only')
            owner[part] = file.path
        tensors |= file.tensors
    base = next((file for file in files if file.path == owner.get('phi')), files[0]).config
    sizes = {file.voxel_size for file in files if file.voxel_size is not None}
    if len(sizes) > 1:
        raise InputError(f'{files[0].path} and others were trained with different voxels '
                         f'({", ".join(f"{size:g} m" for size in sorted(sizes))}): '
                         'give files that belong together')
    ours = [file for file in files if file.container == OURS]
    if len({(file.config.features, file.config.cylinder) for file in ours}) > 1:
        raise InputError(f'{ours[0].path} and others were trained for different descriptors: '
                         'give files that belong together')
    config = infer_config(tensors, replace(base, voxel_size=next(iter(sizes), base.voxel_size)))
    check(tensors, config)
    told = [texts for file in ours if (texts := file.provenance).keys() - {'source'}]
    source = ', '.join(file.provenance.get('source') or file.path.name for file in files)
    return Weights(tensors, {
        **(told[0] if len(told) == 1 else {}), 'config': config.to_json(), 'source': source})
