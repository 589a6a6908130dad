# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which parts of the network a set of weights holds, under which names and in which shapes.

Our names are those of the state dict of `Lmpcr`; published ones are translated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import re

from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.pairwise.evidence import EvidenceNetwork
from mvreg_ros.types import InputError
import torch
from torch import Tensor

PARTS = {
    'phi': 'descriptor', 'matching': 'temperature of the correspondences',
    'psi_init': 'first registration block', 'psi_iter': 'registration block of later rounds',
    'zeta': 'confidence block', 'beta': 'weight in the harmonic mean',
    'evidence': 'confidence of method consistency',
}
# Names in the joint model, in files of registration blocks alone, in those of OANet, from which
# these come, and in those of FCGF alone.
PUBLISHED = (
    (r'descriptor_module\.', 'phi.'),
    (r'feature_matching\._temperature$', 'matching.temperature'),
    (r'(filtering_module\.)?(reg|weights)_init\.', 'psi_init.'),
    (r'(filtering_module\.)?(reg|weights)_iter\.0\.', 'psi_iter.'),
    (r'(?=((conv|norm|block)[1-4](_tr)?|final)\.)', 'phi.'),
)
# Without these method lmpcr cannot run. Where zeta is missing inliers are counted; the temperature
# and beta have first values.
NEEDED = ('phi', 'psi_init', 'psi_iter')
BUFFERS = (
    '.running_mean', '.running_var', '.num_batches_tracked', '.mean', '.deviation', '.whitening',
    '.platt')
MAX_CHANNELS = 4096
NAMES_SHOWN = 3


def translated(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under our names; raise InputError where two would have the same."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in published.items():
        ours = our_name(name)
        if ours in tensors:
            raise InputError(f'{name:.80} is there twice, as {ours:.80} too: take one of them out')
        tensors[ours] = tensor
    return tensors


def our_name(name: str) -> str:
    """Return what a published weight is called here; a name that nobody knows stays."""
    name = name.removeprefix('module.')
    for pattern, prefix in PUBLISHED:
        if re.match(pattern, name):
            return re.sub(pattern, prefix, name, count=1)
    return name


def part_of(name: str) -> str:
    """Return the part that a weight belongs to by its name, such as 'phi'."""
    return name.split('.')[0]


def parts_of(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the parts that weights belong to, those that nobody knows last."""
    held = {part_of(name) for name in tensors}
    return [part for part in PARTS if part in held] + sorted(held - set(PARTS))


def parameter_counts(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of trained parameters of each part that is there."""
    counts = dict.fromkeys(parts_of(tensors), 0)
    for name, tensor in tensors.items():
        if not name.endswith(BUFFERS):
            counts[part_of(name)] += tensor.numel()
    return counts


def infer_config(tensors: Mapping[str, Tensor], base: LmpcrConfig) -> LmpcrConfig:
    """Return `base` with the sizes that the shapes of the weights tell."""
    def size(name: str, axis: int, otherwise: int) -> int:
        tensor = tensors.get(name)
        found = tensor.shape[axis] if tensor is not None and tensor.dim() > 1 else 0
        return found if 0 < found <= MAX_CHANNELS else otherwise

    def out(name: str, otherwise: int) -> int:
        return size(f'phi.{name}.kernel', -1, otherwise)

    def kernel_size(name: str, otherwise: int) -> int:
        taps = size(f'phi.{name}.kernel', 0, 0)
        return next((k for k in (3, 5, 7, 9) if k**3 == taps), otherwise)

    fcgf = base.fcgf
    (e1, e2, e3, e4), (d1, d2, d3, d4) = fcgf.encoder, fcgf.decoder
    psi = 'psi_init' if 'psi_init.conv1.weight' in tensors else 'psi_iter'
    return replace(
        base,
        fcgf=replace(
            fcgf,
            in_channels=size('phi.conv1.kernel', -2, fcgf.in_channels),
            encoder=(out('conv1', e1), out('conv2', e2), out('conv3', e3), out('conv4', e4)),
            decoder=(out('conv1_tr', d1), out('conv2_tr', d2), out('conv3_tr', d3),
                     out('conv4_tr', d4)),
            out_channels=out('final', fcgf.out_channels),
            conv1_kernel_size=kernel_size('conv1', fcgf.conv1_kernel_size),
            kernel_size=kernel_size('conv2', fcgf.kernel_size),
        ),
        width=size(f'{psi}.conv1.weight', 0, base.width),
        clusters=size(f'{psi}.down1.conv.3.weight', 0, base.clusters),
    )


def check(tensors: Mapping[str, Tensor], config: LmpcrConfig) -> None:
    """
    Raise InputError where a part is not whole, or holds what it should not, or other shapes.

    Parts may be missing, but not all of them.
    """
    with torch.device('meta'):
        expected = {name: tensor.shape for name, tensor in Lmpcr(config).state_dict().items()}
        expected |= {f'evidence.{name}': tensor.shape
                     for name, tensor in EvidenceNetwork().state_dict().items()}
    parts = parts_of(tensors)
    if not set(parts) & set(PARTS):
        raise InputError(f'no part of the network is there, but {shortened(list(tensors))}: '
                         'take the weights of FCGF, of the registration blocks or of both')
    faults = [faults_of(part, tensors, expected) for part in parts]
    problems = '; '.join(fault for fault in faults if fault)
    if problems:
        raise InputError(f'{problems}: take the file as its authors published it')
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f'{name} has numbers that are not finite: train again')


def faults_of(
    part: str, tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]
) -> str:
    """Return what is wrong with the names and shapes of a part, '' where nothing is."""
    wanted = {name for name in expected if part_of(name) == part}
    held = {name for name in tensors if part_of(name) == part}
    reshaped = [f'{name} {tuple(tensors[name].shape)} for {tuple(expected[name])}'
                for name in sorted(wanted & held) if tensors[name].shape != expected[name]]
    faults = {'missing': sorted(wanted - held), 'unexpected': sorted(held - wanted),
              'of another shape': reshaped}
    text = ', '.join(f'{len(names)} {fault} ({shortened(names)})'
                     for fault, names in faults.items() if names)
    return text and f'{part}: {text}'


def shortened(names: list[str]) -> str:
    """Return the first few names."""
    shown = [f'{name:.80}' for name in names[:NAMES_SHOWN]]
    return ', '.join(shown + ['...'] * (len(names) > NAMES_SHOWN))
