# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg weights`: what checkpoints hold, and weights of our own out of them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mvreg_ros.commands.console import say
from mvreg_ros.types import InputError
from mvreg_ros.weights.conversion import merged, read_weights_file
from mvreg_ros.weights.files import save_weights, Weights
from mvreg_ros.weights.layout import NEEDED, parameter_counts, PARTS


def run(args: Namespace) -> None:
    """Do `info` or `convert`; raises InputError."""
    if args.action == 'info':
        info(args.file)
    else:
        convert(args.files, args.out)


def info(path: Path) -> None:
    """Say what a file holds."""
    file = read_weights_file(path)
    say(f'{path}: {file.container}, {len(file.tensors)} entries')
    if file.voxel_size is None:
        say('it does not tell its voxel size, so that of the paper is assumed')
    say(summary(merged([file])))
    for name, text in file.provenance.items():
        say(f'{name}: {text}')


def convert(paths: Sequence[Path], out: Path) -> None:
    """Write the parts in the files as one file of our own."""
    if out.exists():
        raise InputError(f'{out}: exists, name a new file or remove it')
    weights = merged([read_weights_file(path) for path in paths])
    save_weights(out, weights.tensors, weights.metadata)
    say(summary(weights))
    say(f'wrote {out}')


def summary(weights: Weights) -> str:
    """Return a line for each part, then the sizes, then what is missing."""
    counts, config = parameter_counts(weights.tensors), weights.config
    lines = [f'  {part:9}{count:10,} parameters  {PARTS[part]}' for part, count in counts.items()]
    if 'phi' in counts and config.features == 'cylinder':
        count = config.cylinder.out_channels + config.cylinder.fpfh_channels
        lines.append(f'features cylinder, descriptors of {count} numbers, '
                     f'voxels of {config.voxel_size:g} m')
    elif 'phi' in counts:
        lines.append(f'descriptors of {config.fcgf.out_channels} numbers, conv1 of '
                     f'{config.fcgf.conv1_kernel_size}^3, voxels of {config.voxel_size:g} m')
    missing = [part for part in PARTS if part not in counts]
    needed = [part for part in missing if part in NEEDED]
    if needed:
        lines.append(f"for --method lmpcr: missing {', '.join(needed)}")
    elif 'zeta' in missing:
        lines.append('for --method lmpcr: complete but for zeta, inliers are counted in its place')
    else:
        lines.append('for --method lmpcr: complete')
    return '\n'.join(lines)
