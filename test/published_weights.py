# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The published checkpoints: names and shapes written down, numbers random, files as published."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import sys
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def batch_norm(name: str, channels: int) -> Shapes:
    """Return the five entries of a batch normalisation."""
    entries: Shapes = {f'{name}.{key}': (channels,)
                       for key in ('weight', 'bias', 'running_mean', 'running_var')}
    return {**entries, f'{name}.num_batches_tracked': ()}


def convolution(name: str, channels_in: int, channels_out: int) -> Shapes:
    """Return the two entries of a 1x1 convolution of torch."""
    return {f'{name}.weight': (channels_out, channels_in, 1, 1), f'{name}.bias': (channels_out,)}


def fcgf_shapes(conv1_taps: int = 343, out_channels: int = 32) -> Shapes:
    """Return the 129 entries of FCGF."""
    shapes: Shapes = {
        'conv1.kernel': (conv1_taps, 1, 32), 'conv2.kernel': (27, 32, 64),
        'conv3.kernel': (27, 64, 128), 'conv4.kernel': (27, 128, 256),
        'conv4_tr.kernel': (27, 256, 128), 'conv3_tr.kernel': (27, 256, 64),
        'conv2_tr.kernel': (27, 128, 64), 'conv1_tr.kernel': (96, 64),
        'final.kernel': (64, out_channels), 'final.bias': (1, out_channels),
    }
    for stage, channels in {'1': 32, '2': 64, '3': 128, '4': 256,
                            '4_tr': 128, '3_tr': 64, '2_tr': 64}.items():
        shapes |= batch_norm(f'norm{stage}.bn', channels)
        for k in '12':
            shapes[f'block{stage}.conv{k}.kernel'] = (27, channels, channels)
            shapes |= batch_norm(f'block{stage}.norm{k}.bn', channels)
    return shapes


def block_shapes(in_channels: int) -> Shapes:
    """Return the 167 entries of a registration block."""
    shapes = convolution('conv1', in_channels, 128)
    for name in ('l1_1.0', 'l1_1.1', 'l1_1.2', 'l1_2.0', 'l1_2.1', 'l1_2.2'):
        first = 256 if name == 'l1_2.0' else 128
        shapes |= batch_norm(f'{name}.conv.1', first) | convolution(f'{name}.conv.3', first, 128)
        shapes |= batch_norm(f'{name}.conv.5', 128) | convolution(f'{name}.conv.7', 128, 128)
    shapes |= convolution('l1_2.0.shot_cut', 256, 128)
    for name in ('down1', 'up1'):
        shapes |= batch_norm(f'{name}.conv.1', 128) | convolution(f'{name}.conv.3', 128, 500)
    for name in ('l2.0', 'l2.1', 'l2.2'):
        shapes |= batch_norm(f'{name}.conv1.1', 128) | convolution(f'{name}.conv1.3', 128, 128)
        shapes |= batch_norm(f'{name}.conv2.0', 500) | convolution(f'{name}.conv2.2', 500, 500)
        shapes |= batch_norm(f'{name}.conv3.2', 128) | convolution(f'{name}.conv3.4', 128, 128)
    return shapes | convolution('output', 128, 1)


FCGF_SHAPES = fcgf_shapes()
REGISTRATION_SHAPES: Shapes = {
    **{f'filtering_module.reg_init.{k}': v for k, v in block_shapes(6).items()},
    **{f'filtering_module.reg_iter.0.{k}': v for k, v in block_shapes(8).items()},
}
JOINT_SHAPES: Shapes = {
    **{f'descriptor_module.{k}': v for k, v in FCGF_SHAPES.items()},
    'feature_matching._temperature': (),
    **REGISTRATION_SHAPES,
}
# The two blocks have 2,473,050 together.
PARAMETERS = {
    'phi': 8_760_384, 'matching': 1, 'psi_init': 1_236_397, 'psi_iter': 1_236_653}


class EasyDict(dict):
    """A dictionary with attributes, as the configuration that FCGF saves with its weights."""

    def __setitem__(self, name: str, value: object) -> None:
        """Keep the value as an item and as an attribute."""
        super().__setitem__(name, value)
        self.__dict__[name] = value


# As a pickle names the class of the package.
EasyDict.__module__ = 'easydict'


@contextmanager
def easydict_installed() -> Iterator[None]:
    """Make `easydict.EasyDict` importable, which pickling asks for and reading must not."""
    module = ModuleType('easydict')
    module.EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules['easydict'] = module
    try:
        yield
    finally:
        del sys.modules['easydict']


def random_state(shapes: Shapes, seed: int = 0) -> OrderedDict[str, Tensor]:
    """Return random numbers in these shapes as a module's state dict."""
    generator = torch.Generator().manual_seed(seed)
    state = OrderedDict(
        (name, torch.tensor(12345) if name.endswith('.num_batches_tracked')
         else torch.rand(shape, generator=generator) + 0.1)
        for name, shape in shapes.items())
    state._metadata = OrderedDict({'': {'version': 1}})  # type: ignore[attr-defined]
    return state


def zoo_file(state: dict[str, Tensor]) -> dict[str, object]:
    """Return what FCGF's trainer saves beside the weights."""
    parameter = torch.nn.Parameter(torch.rand(5, 3))
    optimizer = torch.optim.SGD([parameter], 0.1, momentum=0.8)
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    config = EasyDict()
    for name, value in {'voxel_size': 0.025, 'conv1_kernel_size': 7, 'model_n_out': 32,
                        'normalize_feature': True, 'weights': None, 'threed_match_dir': 'data',
                        'nested': EasyDict(lr=0.1)}.items():
        config[name] = value
    return {
        'epoch': 100, 'state_dict': state, 'optimizer': optimizer.state_dict(),
        'scheduler': scheduler.state_dict(), 'config': config, 'best_val': np.float64(0.95),
        'best_val_epoch': 93, 'best_val_metric': 'feat_match_ratio',
    }


def pairwise_file(state: dict[str, Tensor]) -> dict[str, object]:
    """Return what the authors' trainer saves beside the weights."""
    parameter = torch.nn.Parameter(torch.rand(5, 3))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    return {'model': state, 'optimizer': optimizer.state_dict(), 'epoch_it': 7, 'it': 15000,
            'loss_val_best': np.float32(0.25)}


def write(path: Path, content: object, legacy: bool = False) -> Path:
    """Save as torch does since 1.6, or as it did before."""
    with easydict_installed():
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path
