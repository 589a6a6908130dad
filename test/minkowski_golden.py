# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Arrays that MinkowskiEngine computed, for machines that have none; and how they were made.

    make minkowski
    OMP_NUM_THREADS=1 .venv/bin/python test/minkowski_golden.py

writes data/minkowski_*.npz anew: a corner of a real fragment with voxels on both sides of zero,
through the layers of MinkowskiEngine itself, and through the network with its engine.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mvreg_ros.data.clouds import read_cloud
from mvreg_ros.features.fcgf import FcgfConfig, ResUNetBN2C
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.sparse.engine import open_engine
import numpy as np
import real_data
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / 'data'
FRAGMENT = '3dmatch/fragments/sun3d-hotel_umd-maryland_hotel3/cloud_bin_{}.ply'
VOXEL_SIZE = 0.025
# Name: kernel size, channels in and out, stride in and out.
LAYERS = {
    'conv3': (3, 6, 5, 1, 1),
    'conv5': (5, 6, 3, 1, 1),
    'conv7_one_channel': (7, 1, 4, 1, 1),
    'conv2_even': (2, 5, 4, 1, 1),
    'conv3_stride_1_to_2': (3, 6, 5, 1, 2),
    'conv3_stride_2_to_4': (3, 6, 5, 2, 4),
    'conv3_transposed_4_to_2': (3, 6, 5, 4, 2),
    'conv3_transposed_2_to_1': (3, 6, 5, 2, 1),
}
TINY = FcgfConfig(encoder=(2, 3, 4, 5), decoder=(4, 4, 4, 5), out_channels=6, conv1_kernel_size=5)


def fragment_voxels(number: int, batch: int = 0) -> Tensor:
    """Return the voxels of a real fragment at 2.5 cm, (N, 4), in the order of its points."""
    points = torch.from_numpy(read_cloud(real_data.real_data(FRAGMENT.format(number))))
    points = points[voxel_down_sample(points, VOXEL_SIZE)]
    return torch.nn.functional.pad(torch.floor(points / VOXEL_SIZE).long(), (1, 0), value=batch)


def corner() -> Tensor:
    """Return some hundred voxels of two clouds, about zero."""
    parts = []
    for batch in range(2):
        voxels = fragment_voxels(batch, batch)
        voxels[:, 1:] -= voxels[len(voxels) // 2, 1:].clone()
        parts.append(voxels[(voxels[:, 1:].abs() < 7).all(1)])
    return torch.cat(parts)


def sixteenths(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return random multiples of 1 / 16 from -1 to 1: their products add up without rounding."""
    return torch.randint(-16, 17, shape, generator=generator) / 16


def network() -> ResUNetBN2C:
    """Return a tiny network with weights, and statistics, that come from a seed."""
    generator = torch.Generator().manual_seed(0)
    tiny = ResUNetBN2C(TINY).eval()
    for name, tensor in tiny.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(sixteenths(tuple(tensor.shape), generator) / 2)
        if name.endswith(('running_var', 'bn.weight')):
            tensor.add_(1)
    return tiny


def make_layers(coordinates: Tensor) -> dict[str, np.ndarray]:
    """Return coordinates, features, kernels and outputs of every layer."""
    library = import_module('MinkowskiEngine')
    generator = torch.Generator().manual_seed(0)
    arrays = {'version': np.array(library.__version__),
              'coordinates': coordinates.short().numpy()}
    manager = library.CoordinateManager(D=3)
    keys = {1: manager.insert_and_map(coordinates.int().contiguous(), 1)[0]}
    for stride in (2, 4):
        keys[stride] = manager.stride(keys[1], stride)
        arrays[f'coordinates_{stride}'] = manager.get_coordinates(keys[stride]).short().numpy()
    for name, (size, channels_in, channels_out, stride_in, stride_out) in LAYERS.items():
        kind = 'MinkowskiConvolution' + ('Transpose' if stride_out < stride_in else '')
        layer = getattr(library, kind)(
            channels_in, channels_out, kernel_size=size, dimension=3,
            stride=max(stride_in, stride_out) // min(stride_in, stride_out))
        layer.kernel.data = sixteenths(tuple(layer.kernel.shape), generator)
        features = sixteenths((manager.size(keys[stride_in]), channels_in), generator)
        given = library.SparseTensor(
            features, coordinate_map_key=keys[stride_in], coordinate_manager=manager)
        out = layer(given, keys[stride_out])
        arrays[f'{name}.features'] = features.numpy()
        arrays[f'{name}.kernel'] = layer.kernel.detach().numpy()
        arrays[f'{name}.out'] = out.F.detach().numpy()
    return arrays


@torch.no_grad()
def make_network(coordinates: Tensor) -> dict[str, np.ndarray]:
    """Return the weights and the output of the tiny network, which works in float64."""
    tiny = network()
    weights = {name: tensor.numpy().copy() for name, tensor in tiny.state_dict().items()}
    ones = torch.ones(len(coordinates), 1, dtype=torch.float64)
    out = tiny.double()(ones, open_engine('minkowski', coordinates))
    return {**weights, 'version': np.array(import_module('MinkowskiEngine').__version__),
            'coordinates': coordinates.short().numpy(), 'out': out.float().numpy()}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    coordinates = corner()
    np.savez_compressed(FOLDER / 'minkowski_layers.npz', **make_layers(coordinates))
    np.savez_compressed(FOLDER / 'minkowski_network.npz', **make_network(coordinates))


if __name__ == '__main__':
    main()
