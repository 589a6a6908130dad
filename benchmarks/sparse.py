# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
ResUNetBN2C on a real fragment: the sparse engines against the matrix products they must do.

    OMP_NUM_THREADS=1 mvreg benchmark sparse ROOT [--rounds N] [--out sparse.md]

ROOT is laid out as `mvreg evaluate 3dmatch` wants it. The floor is one dense product for each
offset of each convolution, with a row for each pair of voxels, out of and into the same memory
every time; conv1, of one channel, is one product with a column for each pair of a voxel. The
backward pass has the two products of each again. The engine torch has its turn with the native
kernel, where there is a compiler, and without. Times are of the processor, by medians of rounds
in which everything has its turn; memory is what a first forward pass adds to the process.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from functools import partial
import os
from pathlib import Path
import time
from unittest.mock import patch

from benchmarks.footer import publish
from mvreg_ros.data.clouds import read_cloud
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.features.fcgf import ResUNetBN2C
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.native import dispatch
from mvreg_ros.native.library import native_kernel
from mvreg_ros.sparse.coordinates import sorted_keys
from mvreg_ros.sparse.engine import ENGINES, open_engine, SparseEngine
from mvreg_ros.types import InputError
import numpy as np
import torch
from torch import Tensor

VOXEL_SIZE = 0.025
PASSES = ('forward', 'forward, maps there', 'forward and backward')
Work = Callable[[], object]
# Rows, channels in and out of a matrix product.
Product = tuple[int, int, int]


class RecordingEngine:
    """An engine that notes the products of every convolution."""

    def __init__(self, coordinates: Tensor) -> None:
        """Take the voxels (N, 4)."""
        self._engine = open_engine('torch', coordinates)
        self.products: list[Product] = []

    def coordinates(self, stride: int) -> Tensor:
        """Return the voxels of a stride, (N, 4)."""
        return self._engine.coordinates(stride)

    def convolve(
        self, features: Tensor, kernel: Tensor, stride_in: int, stride_out: int
    ) -> Tensor:
        """Return the convolution."""
        offsets, channels_in, channels_out = kernel.shape
        # Ones through a kernel that keeps its offsets apart count the pairs of each.
        ones = torch.ones(len(features), 1)
        apart = torch.eye(offsets).view(offsets, 1, offsets)
        pairs = self._engine.convolve(ones, apart, stride_in, stride_out).sum(0).long()
        if channels_in == 1:
            rows = len(self.coordinates(stride_out))
            self.products.append((rows, round(int(pairs.sum()) / rows), channels_out))
        else:
            self.products += [(n, channels_in, channels_out) for n in pairs.tolist()]
        return self._engine.convolve(features, kernel, stride_in, stride_out)


def floor(products: list[Product], backward: bool) -> Work:
    """Return a function that does the products, and of each the two of its gradients."""
    memory = [torch.randn(max(n * c for n, *c2 in products for c in c2)) for _ in range(2)]
    kernels = [torch.randn(c_in, c_out) for _, c_in, c_out in products]
    gradients = [torch.empty_like(kernel) for kernel in kernels]

    def run() -> None:
        for (n, c_in, c_out), kernel, gradient in zip(products, kernels, gradients, strict=True):
            x, y = memory[0][:n * c_in].view(n, c_in), memory[1][:n * c_out].view(n, c_out)
            torch.mm(x, kernel, out=y)
            if backward:
                torch.mm(x.t(), y, out=gradient)
                torch.mm(y, kernel.t(), out=x)
    return run


def resident_mb(name: str) -> float:
    """Return what Linux says of this process under a name, VmRSS now or VmHWM at most, in MiB."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise InputError(f'no {name} in /proc/self/status: memory is measured on Linux only')


def peak_mb(work: Work) -> float:
    """Return how much more memory than before a copy of this process holds while it works, MiB."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        Path('/proc/self/clear_refs').write_text('5')  # forgets the VmHWM so far
        before = resident_mb('VmRSS')
        work()
        os.write(writer, str(resident_mb('VmHWM') - before).encode())
        os._exit(0)
    os.wait()
    os.close(writer)
    return float(os.read(reader, 100))


def voxels(root: Path) -> Tensor:
    """Return the first fragment of the first scene as voxels sorted by key, (N, 4)."""
    points = torch.from_numpy(read_cloud(cloud_scenes(root, '3dmatch')[0].clouds[0]))
    points = points[voxel_down_sample(points, VOXEL_SIZE)]
    coordinates = torch.nn.functional.pad(torch.floor(points / VOXEL_SIZE).long(), (1, 0))
    _, rows = sorted_keys(coordinates)
    return coordinates[rows]


def without_compiler(work: Work) -> None:
    """Do the work by torch alone."""
    with patch.object(dispatch, 'serves', lambda *tensors, dtype=None: False):
        work()


def available(coordinates: Tensor) -> list[str]:
    """Return the engines that are installed."""
    found = []
    for name in ENGINES:
        try:
            open_engine(name, coordinates)
        except InputError as error:
            print(f'{name} is left out: {error}')
        else:
            found.append(name)
    print(f'native kernel: {native_kernel().status}')
    return found


def main() -> None:
    """Time every engine and the floor in turns and print the table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--out', type=Path, default=Path('sparse.md'))
    args = parser.parse_args()
    coordinates = voxels(args.root)
    ones = torch.ones(len(coordinates), 1)
    torch.manual_seed(0)
    network = ResUNetBN2C().eval()

    def forward(engine: SparseEngine) -> None:
        with torch.no_grad():
            network(ones, engine)

    def anew(name: str) -> None:
        forward(open_engine(name, coordinates))

    def backward(name: str) -> None:
        network.train()
        network(ones, open_engine(name, coordinates)).sum().backward()
        network.eval()

    engines: dict[str, tuple[Work, ...]] = {}
    for name in available(coordinates):
        there = partial(forward, open_engine(name, coordinates))
        engines[name] = (partial(anew, name), there, partial(backward, name))
    if native_kernel().library is not None:
        there = partial(forward, open_engine('torch', coordinates))
        works = (partial(anew, 'torch'), there, partial(backward, 'torch'))
        engines['torch, no compiler'] = tuple(partial(without_compiler, work) for work in works)
    memory = {name: peak_mb(works[0]) for name, works in engines.items()}
    recording = RecordingEngine(coordinates)
    forward(recording)
    for layer in (network.conv1_tr, network.final):
        recording.products.append((len(coordinates), *layer.kernel.shape))
    products = recording.products
    floors = floor(products, False), floor(products, False), floor(products, True)
    text = table(measure({'floor': floors, **engines}, args.rounds), memory)
    multiplications = sum(n * c_in * c_out for n, c_in, c_out in products)
    text += (
        f'\n{len(coordinates)} voxels, {multiplications / 1e9:.1f} billion multiplications '
        f'forward, {args.rounds} rounds\n')
    publish(text, args.out)


def measure(arms: dict[str, tuple[Work, ...]], rounds: int) -> dict[str, list[float]]:
    """Return the median of the processor's seconds of everything; the first round is not taken."""
    seconds: dict[str, list[list[float]]] = {arm: [] for arm in arms}
    for _ in range(rounds + 1):
        for arm, passes in arms.items():
            seconds[arm].append([])
            for work in passes:
                start = time.process_time()
                work()
                seconds[arm][-1].append(time.process_time() - start)
    return {arm: np.median(rows[1:], axis=0).tolist() for arm, rows in seconds.items()}


def table(seconds: dict[str, list[float]], memory: dict[str, float]) -> str:
    """Return times with their ratios to the floor, and memory, as a Markdown table."""
    rows = [f'| engine | {" | ".join(f"{kind}, s | x floor" for kind in PASSES)} | peak, MiB |',
            '|---' * (2 * len(PASSES) + 2) + '|']
    for arm, found in seconds.items():
        cells = [f'{own:.3f} | {own / least:.2f}'
                 for own, least in zip(found, seconds['floor'], strict=True)]
        peak = f'{memory[arm]:.0f}' if arm in memory else '-'
        rows.append(f'| {arm} | {" | ".join(cells)} | {peak} |')
    return '\n'.join(rows) + '\n'


if __name__ == '__main__':
    main()
