# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The names and shapes in the published weights, written down and not asked of our networks."""

from __future__ import annotations

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
