# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The dataclasses that travel from stage to stage; shapes, units and frames are written here, once.

Metres, radians, nanoseconds. ``T_a_b`` maps points of frame b into frame a. ``S`` is the number of
fragments, ``E`` of edges, ``N`` of points, ``K`` of correspondences. Arrays of geometry that leave
the package are float64 numpy; what lives on the device is float32 torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.float64]

# Metres from the origin. Up to here neighbours in float32 are less than a millimetre apart.
MAX_COORDINATE = 1e4


class InputError(ValueError):
    """Input that cannot be used. The message is one line: what is wrong, where, and the cure."""


class RegistrationCancelled(RuntimeError):
    """Raised by a `Progress` callback to stop the work it is told about."""


class Progress(Protocol):
    """
    Told when a stage begins, as 0 of 1 step, and after each of its steps.

    It may raise `RegistrationCancelled`.
    """

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of `stage` are finished."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Fragment:
    """
    One point cloud of the session, in its own frame.

    points: (N, 3) float32, contiguous, finite. sensor_origin: (3,) float32, where the sensor
    stood, in the frame of the points; normals are turned towards it. T_map_fragment: (4, 4) prior
    pose. T_odom_fragment: (4, 4) pose by the robot's odometry, in a frame that drifts.
    odometry_run: odometry may begin anew; poses of different runs have nothing to do with each
    other.
    """

    points: NDArray[np.float32]
    id: int = 0
    stamp_ns: int = 0
    frame_id: str = ''
    name: str = ''
    sensor_origin: NDArray[np.float32] = field(default_factory=lambda: np.zeros(3, np.float32))
    T_map_fragment: FloatArray | None = None
    T_odom_fragment: FloatArray | None = None
    odometry_run: int = 0


@dataclass(frozen=True)
class FragmentFeatures:
    """
    Keypoints of a fragment with their descriptors, on the device.

    points: (N, 3) float32 in the fragment's frame. normals: (N, 3) float32, unit length.
    descriptors: (N, D) float32, rows of unit length, or zero for a point without neighbours.
    sensor_origin: (3,) float32. key: says all that they depend on, '' where that is not known.
    context: (N, E) float16 unit rows that describe the keypoints with those around them, None
    where nothing is learned for that; half as exact, since it is twice as large.
    """

    points: Tensor
    normals: Tensor
    descriptors: Tensor
    sensor_origin: Tensor
    key: str = ''
    context: Tensor | None = None


@dataclass(frozen=True)
class Correspondences:
    """
    Putative correspondences of a pair, the rows of Gamma in Eq. 4.

    rows_i, rows_j: (K,) int64 keypoints of the fragments. points_i: (K, 3) in the frame of
    fragment i; points_j: (K, 3) in the frame of fragment j.
    """

    i: int
    j: int
    rows_i: Tensor
    rows_j: Tensor
    points_i: Tensor
    points_j: Tensor


@dataclass(frozen=True)
class PairRegistration:
    """
    A relative pose with the evidence for it.

    T_i_j: (4, 4) float64. inliers: correspondences that agree with T_i_j. evidence: the same, less
    where the sensors contradict the pose. confidence: c_local of Eq. 13, in [0, 1]. information:
    (6, 6) as in `Edges`.
    """

    i: int
    j: int
    T_i_j: FloatArray
    inliers: int
    evidence: float
    confidence: float
    information: FloatArray


@dataclass(frozen=True)
class RefinedEdge:
    """T_i_j (4, 4) by the surfaces alone, and their information (6, 6): zero where they failed."""

    T_i_j: FloatArray
    information: FloatArray


@dataclass(frozen=True)
class Contradiction:
    """
    The share, in [0, 1], of what two groups of fragments both see that cannot be if they lie so.

    See `multiview.surroundings`.
    """

    share: float


@dataclass(frozen=True)
class Aggregated:
    """What a fragment has of each word: vectors (K, d), see `pairs.match_kernel`."""

    vectors: Tensor


@dataclass(frozen=True)
class FirstLook:
    """How many of a few keypoints of two fragments agree on one motion; see `pairs.first_look`."""

    inliers: int


class Verdict(str, Enum):
    """What became of an edge. A bridge is in use and the only link between the parts it joins."""

    KEPT = 'kept'
    BRIDGE = 'bridge'
    PRUNED = 'pruned'

    __str__ = str.__str__


@dataclass(frozen=True)
class Edges:
    """
    Relative poses between fragments, one row each, i < j.

    i, j: (E,) int64 fragment ids. T_i_j: (E, 4, 4). confidence: (E,) in [0, 1]. inliers: (E,)
    int64. information: (E, 6, 6) inverse covariance of T_i_j, translation (m) before rotation
    (rad), in the frame of fragment j. verdict: (E,) `Verdict`. reason: (E,) short codes such as
    'inconsistent'.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    T_i_j: FloatArray
    confidence: FloatArray
    inliers: NDArray[np.int64]
    evidence: FloatArray
    information: FloatArray
    verdict: NDArray[np.object_]
    reason: NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.i)

    def select(self, rows: NDArray) -> Edges:
        """Return the edges of `rows`, a boolean mask or an index array."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__annotations__})

    @property
    def used(self) -> NDArray[np.bool_]:
        """(E,) True where the edge takes part in the poses: kept edges and bridges."""
        return self.verdict != Verdict.PRUNED

    @staticmethod
    def of(pairs: list[PairRegistration]) -> Edges:
        """Stack pair registrations into edges that nobody has judged yet."""
        count = len(pairs)
        return Edges(
            i=np.array([p.i for p in pairs], np.int64),
            j=np.array([p.j for p in pairs], np.int64),
            T_i_j=np.stack([p.T_i_j for p in pairs]) if pairs else np.zeros((0, 4, 4)),
            confidence=np.array([p.confidence for p in pairs], np.float64),
            inliers=np.array([p.inliers for p in pairs], np.int64),
            evidence=np.array([p.evidence for p in pairs], np.float64),
            information=np.stack([p.information for p in pairs]) if pairs else np.zeros((0, 6, 6)),
            verdict=np.full(count, Verdict.KEPT, object),
            reason=np.full(count, '', object),
        )


@dataclass(frozen=True)
class Registration:
    """
    The result: one absolute pose for each fragment that could be placed.

    poses: (S, 4, 4) T_map_fragment, NaN where not placed. placed: (S,) bool. component: (S,)
    int64, 0 is the largest and is the map, -1 a fragment alone. covariances: (S, 6, 6) of each
    pose in the fragment's own frame, x, y, z (m), then rotation about x, y, z (rad), NaN where not
    placed. reason: (S,) why a fragment was not placed, '' where it was. seconds: by stage.
    """

    poses: FloatArray
    placed: NDArray[np.bool_]
    component: NDArray[np.int64]
    covariances: FloatArray
    edges: Edges
    reason: NDArray[np.object_]
    seconds: dict[str, float]

    def relative(self, i: int, j: int) -> FloatArray | None:
        """Return T_i_j implied by the poses, or None where i and j hang in no common component."""
        if not (self.placed[i] and self.placed[j] and self.component[i] == self.component[j]):
            return None
        return np.linalg.inv(self.poses[i]) @ self.poses[j]

    def members(self, component: int) -> Iterator[int]:
        """Yield the ids of the fragments of a component, in order."""
        yield from np.flatnonzero(self.component == component).tolist()
