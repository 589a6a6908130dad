# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The public call: many point clouds in, one pose for each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
import time

import numpy as np
from numpy.typing import NDArray
import torch

from mvreg_ros.features.descriptor import Descriptor, FpfhDescriptor
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.multiview import synchronize
from mvreg_ros.pairwise.consistency import SpatialConsistency
from mvreg_ros.pairwise.matching import match
from mvreg_ros.pairwise.registration import inlier_confidence, PairwiseRegistration
from mvreg_ros.parameters import checked, Value
from mvreg_ros.types import (
    Edges, Fragment, InputError, no_progress, PairRegistration, Progress, Registration,
    select_device,
)

MIN_POINTS = 100
INLIER_VOXELS = 4.0


class MultiviewRegistration:
    """Registers point-cloud fragments in one common frame."""

    def __init__(
        self, parameters: dict[str, Value], descriptor: Descriptor,
        register_pair: PairwiseRegistration,
    ) -> None:
        """Put together a pipeline from its parts; `from_pretrained` does it from parameters."""
        self.parameters = parameters
        self.descriptor = descriptor
        self.register_pair = register_pair

    @classmethod
    def from_pretrained(cls, **parameters: object) -> MultiviewRegistration:
        """
        Build the pipeline from rows of the parameter table, such as voxel_size=0.05.

        Raises InputError for an unknown name, a wrong type, a value out of range or a device that
        does not exist.
        """
        values = checked(parameters)
        device = select_device(str(values['device']))
        voxel_size = float(values['voxel_size'])
        inlier_distance = INLIER_VOXELS * voxel_size
        return cls(
            values,
            FpfhDescriptor(voxel_size, device),
            PairwiseRegistration(
                SpatialConsistency(inlier_distance), inlier_confidence, inlier_distance
            ),
        )

    def prepare(self, fragment: Fragment) -> Fragment:
        """
        Return the fragment thinned to the voxel size; doing it twice changes nothing.

        Raises InputError where too few points remain.
        """
        points = torch.from_numpy(np.ascontiguousarray(fragment.points, np.float32))
        rows = voxel_down_sample(points, float(self.parameters['voxel_size']))
        if len(rows) < MIN_POINTS:
            raise InputError(
                f'fragment {fragment.id} {fragment.name} has {len(rows)} points after thinning to '
                f"{self.parameters['voxel_size']} m, at least {MIN_POINTS} are needed: "
                'send larger fragments or set a smaller voxel_size'
            )
        return replace(fragment, points=points[rows].numpy())

    def register(
        self, clouds: Sequence[NDArray | Fragment], progress: Progress = no_progress
    ) -> Registration:
        """
        Return one pose T_map_fragment for each cloud that can be placed.

        clouds: (N, 3) arrays in metres, each in a frame of its own, or `Fragment`s. Raises
        InputError where there are fewer than two or one of them is too small.
        """
        fragments = [self.prepare(as_fragment(cloud, k)) for k, cloud in enumerate(clouds)]
        if len(fragments) < 2:
            raise InputError(f'registration needs two or more fragments, got {len(fragments)}')
        seconds: dict[str, float] = {}

        begin = time.perf_counter()
        features = []
        for k, fragment in enumerate(fragments):
            features.append(self.descriptor(fragment))
            progress('features', k + 1, len(fragments))
        seconds['features'] = time.perf_counter() - begin

        begin = time.perf_counter()
        todo = list(combinations(range(len(fragments)), 2))

        def job(pair: tuple[int, int]) -> PairRegistration:
            i, j = pair
            return self.register_pair(match(i, j, features[i], features[j]))

        pairs = []
        for pair in todo:
            pairs.append(job(pair))
            progress('pairs', len(pairs), len(todo))
        seconds['pairs'] = time.perf_counter() - begin

        begin = time.perf_counter()
        result = synchronize(
            len(fragments), Edges.of(pairs), float(self.parameters['min_confidence'])
        )
        progress('synchronization', 1, 1)
        seconds['synchronization'] = time.perf_counter() - begin
        placed = result.component >= 0
        return Registration(
            poses=result.poses, placed=placed, component=result.component,
            covariances=np.full((len(fragments), 6, 6), np.nan), edges=result.edges,
            reason=np.where(placed, '', 'no_link').astype(object), seconds=seconds,
        )


def as_fragment(cloud: NDArray | Fragment, index: int) -> Fragment:
    """
    Return the cloud as a fragment with the given id.

    Raises InputError unless it is (N, 3) and finite.
    """
    if isinstance(cloud, Fragment):
        return replace(cloud, id=index)
    points = np.asarray(cloud)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f'cloud {index} has shape {points.shape}, expected (N, 3)')
    if not np.isfinite(points).all():
        raise InputError(f'cloud {index} has points that are not finite: remove them first')
    return Fragment(np.ascontiguousarray(points, np.float32), id=index)
