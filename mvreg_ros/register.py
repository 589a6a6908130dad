# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The public call: many point clouds in, one pose for each out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from mvreg_ros.cache import Cache, features_key, MemoryCache, method_key, recalled
from mvreg_ros.features.voxels import voxel_down_sample
from mvreg_ros.gpu_memory import shortage_explained
from mvreg_ros.methods.method import Method, Stopwatch
from mvreg_ros.methods.pretrained import method_from, weights_file
from mvreg_ros.multiview.centering import centered, restored
from mvreg_ros.multiview.odometry_evidence import looking_at
from mvreg_ros.multiview.odometry_links import with_odometry
from mvreg_ros.multiview.optimization import optimize_poses
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.multiview.refinement import refine_edges
from mvreg_ros.pairs.overlap import overlapping_by_priors
from mvreg_ros.pairs.ranking import Pair
from mvreg_ros.parallel import one_thread_each, Threads, workers_for
from mvreg_ros.parameters import checked, Value
from mvreg_ros.types import (
    FloatArray,
    Fragment,
    FragmentFeatures,
    InputError,
    MAX_COORDINATE,
    no_progress,
    Progress,
    Registration,
)
import numpy as np
from numpy.typing import NDArray
import torch

Pipeline = TypeVar('Pipeline', bound='MultiviewRegistration')

MIN_POINTS = 100


class MultiviewRegistration:
    """
    Registers point-cloud fragments in one common frame.

    parameters: the rows of the parameter table that it was built with. method: what they chose.
    cache: spares what an earlier call has computed of features, looks, pairs and refined edges.
    """

    def __init__(self, parameters: dict[str, Value], method: Method) -> None:
        """Put a pipeline together from its parts; `from_pretrained` does it from parameters."""
        self.parameters = parameters
        self.method = method
        self.voxel_size = float(parameters['voxel_size'])
        self.cache: Cache = MemoryCache()
        self._threads = Threads(workers_for(torch.device('cpu')))
        self._method_key = method_key(parameters, weights_file(str(parameters['weights'])))

    @classmethod
    def from_pretrained(cls: type[Pipeline], **parameters: object) -> Pipeline:
        """
        Build the pipeline from rows of the parameter table, such as voxel_size=0.05.

        Raises InputError for an unknown name, a wrong type, a value out of range, a device that
        does not exist or weights that cannot be used.
        """
        values = checked(parameters)
        return cls(values, method_from(values))

    @shortage_explained()
    @one_thread_each()
    def register(
        self, clouds: Sequence[NDArray | Fragment], progress: Progress = no_progress
    ) -> Registration:
        """
        Return one pose T_map_fragment for each cloud that can be placed.

        clouds: (N, 3) arrays in metres, each in a frame of its own, or `Fragment`s. Raises
        InputError where there are fewer than two or one of them is too small, and where the memory
        of a GPU does not suffice.
        """
        unprepared = [as_fragment(cloud, k) for k, cloud in enumerate(clouds)]
        with closing(self._threads.map(self.prepare, unprepared)) as prepared:
            given = list(prepared)
        if len(given) < 2:
            raise InputError(f'registration needs two or more fragments, got {len(given)}')
        fragments, centers = zip(*map(centered, given), strict=True)
        watch = Stopwatch(progress)
        with watch('features'):
            features = self.describe(fragments, progress)
        neighbors: Collection[Pair] = ()
        if self.parameters['pairs'] == 'auto':
            with watch('pairs'):
                neighbors = overlapping_by_priors(given, self.voxel_size)
        graph = self.solve(features, neighbors, watch, progress)
        if any(fragment.T_odom_fragment is not None for fragment in fragments):
            with watch('odometry'):
                graph = with_odometry(graph, fragments, looking_at(features, self.voxel_size))
        poses, edges = graph.poses, graph.edges
        covariances = np.full((len(fragments), 6, 6), np.nan)
        if self.parameters['refine']:
            with watch('refinement'):
                keys = [feature.key for feature in features]
                edges = refine_edges(
                    fragments, edges, self.voxel_size, progress, keys, self.cache)
                poses, covariances = optimize_poses(poses, graph.component, edges)
        poses, covariances, edges = restored(poses, covariances, edges, np.stack(centers))
        placed = graph.component >= 0
        self.cache.settle()
        return Registration(
            poses=in_gauge(poses, graph.component, given), placed=placed,
            component=graph.component, covariances=covariances, edges=edges,
            reason=np.where(placed, '', 'no_link').astype(object), seconds=watch.seconds,
        )

    def prepare(self, fragment: Fragment) -> Fragment:
        """
        Return the fragment thinned to the voxel size; doing it twice changes nothing.

        Raises InputError where too few points remain.
        """
        points = torch.from_numpy(np.ascontiguousarray(fragment.points, np.float32))
        rows = voxel_down_sample(points, self.voxel_size)
        if len(rows) < MIN_POINTS:
            raise InputError(
                f'fragment {fragment.name or fragment.id} has {len(rows)} points at a voxel size '
                f'of {self.voxel_size:g} m, {MIN_POINTS} are needed: send larger fragments or '
                'set a smaller voxel_size'
            )
        return replace(fragment, points=points[rows].numpy())

    def describe(
        self, fragments: Sequence[Fragment], progress: Progress = no_progress
    ) -> list[FragmentFeatures]:
        """Return the keypoints and descriptors of prepared fragments."""
        keys = [features_key(self._method_key, fragment) for fragment in fragments]
        features = []
        # Closed, and not left to the collector: a failed `progress` holds this frame for long.
        with closing(recalled(
            self.cache, keys, self.method.mapper, self.method.descriptor, fragments,
        )) as described:
            for key, feature in zip(keys, described, strict=True):
                features.append(replace(feature, key=key))
                progress('features', len(features), len(fragments))
        return features

    def solve(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        watch: Stopwatch, progress: Progress = no_progress,
    ) -> Synchronization:
        """Return the pose graph of described fragments; neighbors: see `Method`."""
        tau_p = float(self.parameters['min_confidence'])
        return self.method.solve(features, neighbors, tau_p, watch, progress, self.cache)


def as_fragment(cloud: NDArray | Fragment, index: int) -> Fragment:
    """
    Return the cloud as a fragment with the given id.

    Raises InputError unless it is (N, 3), and it and its sensor are finite and within 10 km of the
    origin of its frame, beyond which float32 is too coarse, and priors are (4, 4) and as near.
    """
    fragment = cloud if isinstance(cloud, Fragment) else Fragment(cloud)
    try:
        points = np.asarray(fragment.points, np.float64)
        origin = np.asarray(fragment.sensor_origin, np.float64).reshape(3)
    except (TypeError, ValueError) as error:
        raise InputError(f'cloud {index} is not an array of numbers: {error}') from error
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f'cloud {index} has shape {points.shape}, expected (N, 3)')
    if not np.isfinite(points).all():
        raise InputError(f'cloud {index} has points that are not finite: remove them first')
    if len(points) and np.abs(points).max() > MAX_COORDINATE:
        raise InputError(
            f'cloud {index} is more than {MAX_COORDINATE:g} m from the origin of its frame: check '
            'its units (metres) and subtract an offset'
        )
    if not (np.abs(origin) <= MAX_COORDINATE).all():
        raise InputError(
            f'cloud {index} has the sensor_origin {origin}: it must be finite and within '
            f'{MAX_COORDINATE:g} m of the origin of its frame, as the points are'
        )
    for name in ('T_map_fragment', 'T_odom_fragment'):
        pose = getattr(fragment, name)
        if pose is not None and not (np.shape(pose) == (4, 4) and np.isfinite(pose).all()):
            raise InputError(f'cloud {index} has a {name} that is no finite (4, 4) matrix')
        if pose is not None and not (np.abs(np.asarray(pose)[:3, 3]) <= MAX_COORDINATE).all():
            raise InputError(
                f'cloud {index} has a {name} more than {MAX_COORDINATE:g} m from its origin: '
                'check its units (metres) and subtract an offset')
    points32 = np.array(points, np.float32, order='C')
    return replace(fragment, points=points32, sensor_origin=origin.astype(np.float32), id=index)


def in_gauge(
    poses: FloatArray, component: NDArray[np.int64], fragments: Sequence[Fragment]
) -> FloatArray:
    """
    Return the poses with the first fragment of each component at its prior, or identity.

    Without a prior odometry will do: the map then begins as the odometry's frame, upright.
    """
    result = poses.copy()
    for label in range(component.max(initial=-1) + 1):
        nodes = np.flatnonzero(component == label)
        first = fragments[nodes[0]]
        prior = first.T_odom_fragment if first.T_map_fragment is None else first.T_map_fragment
        gauge = np.eye(4) if prior is None else prior
        result[nodes] = gauge @ np.linalg.inv(poses[nodes[0]]) @ poses[nodes]
    return result
