# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which clouds become fragments of a session: the rules that the node and bags share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mvreg_ros.refusal import Refusal
from mvreg_ros.types import Fragment, InputError, MAX_COORDINATE
import numpy as np

# Voxels between the origin and the farthest point of a fragment; beyond, float32 is too coarse.
FARTHEST = 2**18


def check_header(stamp_ns: int, frame_id: str, held: Iterable[Fragment]) -> None:
    """
    Raise Refusal if a cloud of this header cannot join the fragments `held`.

    Each fragment has its own frame, so a changed frame id and stamps in any order are welcome.
    Only a stamp that an earlier fragment of the same frame had already is refused: the two could
    not be told apart in `~/path`. A stamp of zero says that the sender has no clock; it may come
    again.
    """
    if not frame_id:
        raise Refusal('no_frame_id', 'header.frame_id is empty')
    header = (stamp_ns, frame_id)
    if stamp_ns and any((each.stamp_ns, each.frame_id) == header for each in held):
        raise Refusal('stamp_repeated', f'frame {frame_id!r} at {stamp_ns} ns is held already')


def thinned(
    fragment: Fragment, prepare: Callable[[Fragment], Fragment], voxel_size: float
) -> Fragment:
    """
    Return `fragment` thinned by `prepare`, which raises InputError if too few points remain.

    Raises Refusal then, and if a point or the sensor is too far from the origin.
    """
    farthest = max(np.abs(fragment.points).max(initial=0), np.abs(fragment.sensor_origin).max())
    limit = min(FARTHEST * voxel_size, MAX_COORDINATE)
    if farthest > limit:
        raise Refusal('too_far', f'a coordinate is {farthest:g} m, the limit is {limit:g} m')
    try:
        return prepare(fragment)
    except InputError as error:
        raise Refusal(
            'too_few_points',
            f'of {len(fragment.points)} points too few remain after thinning') from error
