# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The method that the parameters choose, with its weights from the package or from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import logging
from pathlib import Path

from mvreg_ros.device import select_device
from mvreg_ros.features.descriptor import FpfhDescriptor
from mvreg_ros.lmpcr import Lmpcr
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.methods.learned import learned_descriptor, LearnedMethod
from mvreg_ros.methods.method import Method
from mvreg_ros.pairs.vocabulary import phi_of, vocabulary_for
from mvreg_ros.pairwise.confidence_block import InlierConfidence
from mvreg_ros.pairwise.evidence import counted, EvidenceNetwork
from mvreg_ros.parameters import Value
from mvreg_ros.sparse.engine import open_engine
from mvreg_ros.types import InputError
from mvreg_ros.weights.files import load_weights
from mvreg_ros.weights.layout import NEEDED, part_of, parts_of
import numpy as np
import torch
from torch import Tensor

LOGGER = logging.getLogger(__name__)

# The weights in the box, see docs/model_card.md.
SHIPPED = Path(__file__).parent.parent / 'weights' / 'pretrained.safetensors'


def method_from(parameters: Mapping[str, Value]) -> Method:
    """
    Return the method that the rows of the parameter table choose.

    Raises InputError for a device that does not exist, weights that cannot be used, or choices
    that do not go together.
    """
    method = all_pairs_method(parameters)
    if parameters['pairs'] == 'auto':
        if not isinstance(method, ConsistencyMethod):
            raise InputError('method lmpcr registers all pairs: set pairs to all')
        method.vocabulary = vocabulary_for(
            str(parameters['features']), phi_of(method.descriptor))
    return method


def all_pairs_method(parameters: Mapping[str, Value]) -> Method:
    """Return the method that registers all pairs; raises InputError as `method_from`."""
    device = select_device(str(parameters['device']))
    voxel_size = float(parameters['voxel_size'])
    features, engine = str(parameters['features']), str(parameters['sparse_engine'])
    learned = parameters['method'] == 'lmpcr'
    path = str(parameters['weights'])
    if features == 'fpfh':
        if learned:
            raise InputError('method lmpcr learns on learned features: set features to cylinder, '
                             'or to fcgf with weights for it')
        if path:
            raise InputError('features fpfh have no weights: leave out weights, or set features '
                             'to what they hold')
        return ConsistencyMethod(FpfhDescriptor(voxel_size, device), voxel_size, device)
    if features == 'fcgf':  # say at once what cannot work
        open_engine(engine, torch.zeros(1, 4, dtype=torch.int64, device=device))
    pretrained = load_pretrained(path, features, NEEDED if learned else ('phi',))
    trained = pretrained.network.config.voxel_size
    if not np.isclose(trained, voxel_size):
        LOGGER.warning(
            'the weights are for voxels of %g m: at voxel_size %g they see a world %.3g times as '
            'large', trained, voxel_size, trained / voxel_size)
    if learned:
        return LearnedMethod(pretrained.network, voxel_size, device, engine)
    return consistency_method(pretrained, voxel_size, device, engine)


def weights_file(path: str) -> Path:
    """Return the file that the parameter weights names; without one that of the package."""
    return Path(path).expanduser() if path else SHIPPED


@dataclass(frozen=True)
class Pretrained:
    """The network of the paper, and the confidence block of method `consistency`."""

    network: Lmpcr
    zeta: Callable[[Tensor], Tensor]


def consistency_method(
    pretrained: Pretrained, voxel_size: float, device: torch.device, engine: str = 'torch'
) -> ConsistencyMethod:
    """Return method `consistency` on learned descriptors, voxel_size in metres."""
    network = pretrained.network
    descriptor = learned_descriptor(network, voxel_size, device, engine)
    if network.config.features == 'fcgf':
        return ConsistencyMethod(descriptor, voxel_size, device)
    return ConsistencyMethod(
        descriptor, voxel_size, device, pretrained.zeta, network.config.cylinder.similarity)


def load_pretrained(path: str, features: str, needed: Sequence[str]) -> Pretrained:
    """
    Return what the weights of a file make, '' for those of the package.

    features: what its phi has to be. needed: parts that have to be there. Raises InputError.
    """
    if not path and features == 'fcgf':
        raise InputError('features fcgf needs weights, which are not in the package: name a file '
                         'that mvreg weights convert or mvreg train made')
    file = weights_file(path)
    weights = load_weights(file)
    held = parts_of(weights.tensors)
    config = weights.config
    missing = [part for part in needed if part not in held]
    if missing:
        raise InputError(
            f"{file}: has no {' and no '.join(missing)}, which is needed here: give the files "
            'that hold all parts to one mvreg weights convert')
    if config.features != features:
        raise InputError(
            f'{file}: holds features {config.features}: set features to {config.features}')
    if features == 'fcgf' and config.fcgf.in_channels != 1:
        raise InputError(
            f'{file}: its FCGF wants {config.fcgf.in_channels} features a point, and '
            'fragments have none: take weights for occupied voxels alone')
    network = Lmpcr(config)
    if 'zeta' not in held:
        network.zeta = InlierConfidence()
    network.load_state_dict(weights.tensors, strict=False)  # names are checked already
    if 'evidence' not in held:
        return Pretrained(network, counted)
    zeta = EvidenceNetwork().requires_grad_(False)
    zeta.load_state_dict({
        name.removeprefix('evidence.'): tensor for name, tensor in weights.tensors.items()
        if part_of(name) == 'evidence'})
    return Pretrained(network, zeta.confidence)
