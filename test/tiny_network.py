# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small network of the right kind with random weights, in a file."""

from __future__ import annotations

from pathlib import Path

from mvreg_ros.features.fcgf import FcgfConfig
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.weights.files import save_weights
import torch

FCGF = FcgfConfig(
    encoder=(4, 4, 8, 8), decoder=(4, 4, 8, 8), out_channels=8, conv1_kernel_size=5)


def write_weights(path: Path, voxel_size: float) -> LmpcrConfig:
    """Write weights that give every match some weight, so that there are poses."""
    config = LmpcrConfig(FCGF, voxel_size=voxel_size, points=200, width=8, clusters=10)
    torch.manual_seed(0)
    network = Lmpcr(config)
    with torch.no_grad():
        for psi in (network.psi_init, network.psi_iter):
            psi.output.bias.fill_(1.0)
    save_weights(path, network.state_dict(), {'config': config.to_json(), 'source': 'random'})
    return config
