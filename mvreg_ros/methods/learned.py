# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Method `lmpcr`: the paper's networks, with weights from a file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Generic

from mvreg_ros.cache import Cache
from mvreg_ros.device import autocast
from mvreg_ros.features.cylinder_descriptor import CylinderDescriptor
from mvreg_ros.features.cylinder_network import CylinderNetwork
from mvreg_ros.features.descriptor import Descriptor
from mvreg_ros.features.fcgf_descriptor import FcgfDescriptor
from mvreg_ros.gpu_memory import in_halves
from mvreg_ros.lmpcr import Lmpcr
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview.algorithm_1 import (
    Algorithm1Config,
    algorithm_1,
    distances,
    Evaluate,
    Gamma,
    PairEstimate,
)
from mvreg_ros.multiview.irls import IrlsConfig
from mvreg_ros.multiview.pose_graph import judged, Synchronization
from mvreg_ros.pairs.ranking import Pair
from mvreg_ros.pairwise.information import correspondence_information
from mvreg_ros.parallel import Item, Mapper, Result, Threads, workers_for
from mvreg_ros.types import (
    Edges,
    FloatArray,
    FragmentFeatures,
    InputError,
    PairRegistration,
    Progress,
)
import torch
from torch import Tensor

# Correspondences within so many voxels of where the pose puts them are inliers: 7.5 cm at 2.5 cm.
INLIER_VOXELS = 3.0
BATCH = 4  # pairs that go through a registration block together


def learned_descriptor(
    network: Lmpcr, voxel_size: float, device: torch.device, engine: str = 'torch',
    max_keypoints: int = 5000,
) -> Descriptor:
    """Return phi of a network as a descriptor; voxel_size in metres."""
    if isinstance(network.phi, CylinderNetwork):
        return CylinderDescriptor(network.phi, voxel_size, device, max_keypoints)
    return FcgfDescriptor(network.phi, voxel_size, device, max_keypoints, engine)


@dataclass(frozen=True)
class Inference(Generic[Item, Result]):
    """A function in the states for inference, which are those of a thread."""

    function: Callable[[Item], Result]
    device: torch.device

    def __call__(self, item: Item) -> Result:
        """Return function(item)."""
        with torch.inference_mode(), autocast(self.device):
            return self.function(item)


class LearnedMethod:
    """
    The network of the paper at the voxel size of the user.

    It works in the metres that it was trained with: a voxel is a voxel. descriptor: phi's feature
    space.
    """

    def __init__(
        self, network: Lmpcr, voxel_size: float, device: torch.device, engine: str = 'torch'
    ) -> None:
        """Use a network in evaluation mode; voxel_size in metres; raises InputError for mps."""
        if device.type == 'mps':
            raise InputError('method lmpcr needs float64, which mps lacks: set device to cpu')
        config = network.config
        self.network = network.to(device).eval()
        self.device = device
        self.mapper: Mapper = Threads(workers_for(device))
        self.voxel_size = voxel_size
        self.scale = config.voxel_size / voxel_size
        self.descriptor = learned_descriptor(network, voxel_size, device, engine)

    @torch.inference_mode()
    def solve(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        min_confidence: float, watch: Stopwatch, progress: Progress, cache: Cache,
    ) -> Synchronization:
        """
        Return the poses of described fragments by Alg. 1, see `Method`.

        Pairs are not kept: each round registers them with the weights of the round before.
        """
        config = Algorithm1Config(prune=min_confidence)
        with watch('pairs'):
            gamma = self.correspondences(features, progress)
        with watch('synchronization'):
            evaluate = self.in_batches(1 + config.iterations, progress)
            _, rounds = algorithm_1(self.network, gamma, len(features), config, evaluate)
            first, last = rounds[0], rounds[-1]
            edges = self.edges(gamma, last.pairs)
            return judged(
                edges, self.in_metres(last.poses), last.kept.cpu().numpy(),
                last.c.double().cpu().numpy(), IrlsConfig(unit=1 / self.scale),
                pairwise=self.edges(gamma, first.pairs),
            )

    def correspondences(
        self, features: Sequence[FragmentFeatures], progress: Progress
    ) -> Gamma:
        """Return the soft correspondences of all pairs, in the metres of the network."""
        count = len(features) * (len(features) - 1) // 2

        def each(phi: Callable[[Pair], Tensor], pairs: Sequence[Pair]) -> Iterator[Tensor]:
            for done, found in enumerate(self.map(phi, pairs), 1):
                progress('pairs', done, count)
                yield found

        return self.network.correspondences(
            [f.points * self.scale for f in features], [f.descriptors for f in features], each)

    def in_batches(self, passes: int, progress: Progress) -> Evaluate:
        """
        Return the `evaluate` of Alg. 1: a few pairs at a time; progress over all passes.

        Fewer pairs, down to one, where a GPU has no memory for so many.
        """
        done = 0

        def evaluate(
            function: Callable[..., PairEstimate], pairs: tuple[Tensor, ...]
        ) -> PairEstimate:
            nonlocal done
            batches = list(zip(*(tensor.split(BATCH) for tensor in pairs), strict=True))
            estimates: list[PairEstimate] = []
            for found in self.map(lambda batch: in_halves(function, *batch), batches):
                estimates += found
                done += 1
                progress('synchronization', done, passes * len(batches))
            return PairEstimate(*(
                torch.cat([getattr(estimate, field.name) for estimate in estimates])
                for field in fields(PairEstimate)))

        return evaluate

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Apply a part of the network to many items, on all cores."""
        return self.mapper.map(Inference(function, self.device), items)

    def edges(self, gamma: Gamma, pairs: PairEstimate) -> Edges:
        """Return the estimates as edges in metres; the confidence is c_local."""
        inlier_distance = INLIER_VOXELS * self.network.config.voxel_size
        inliers = ((distances(pairs.T_i_j, gamma) < inlier_distance) & gamma.mask).sum(1)
        inliers = inliers * pairs.valid
        sigma = INLIER_VOXELS * self.voxel_size / 2
        return Edges.of([
            PairRegistration(
                int(i), int(j), T, int(count), float(count), float(c),
                correspondence_information(
                    points.double() / self.scale, weights.double(), sigma).cpu().numpy())
            for i, j, T, count, c, points, weights in zip(
                gamma.i, gamma.j, self.in_metres(pairs.T_i_j), inliers, pairs.c_local,
                gamma.points_j, pairs.weights, strict=True)
        ])

    def in_metres(self, T: Tensor) -> FloatArray:
        """Return poses (..., 4, 4) of the network's metres in the user's."""
        result = T.double().cpu().numpy().copy()
        result[..., :3, 3] /= self.scale
        return result
