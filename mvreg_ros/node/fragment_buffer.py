# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The fragments a session has accepted, and how many clouds were refused for which reason."""

from __future__ import annotations

from collections.abc import Callable

from mvreg_ros.refusal import CURES, Refusal
from mvreg_ros.types import Fragment, InputError
import numpy as np
from numpy.typing import NDArray

# Voxels between the origin and the farthest point of a fragment; beyond, float32 is too coarse.
FARTHEST = 2**18


class FragmentBuffer:
    """
    Accepted fragments by id; `refused` counts the others by reason.

    Each fragment has its own frame, so a changed frame id and stamps in any order are welcome.
    Only a stamp that an earlier fragment of the same frame had already is refused: the two could
    not be told apart in `~/path`. A stamp of zero says that the sender has no clock; it may come
    again.
    """

    def __init__(self, prepare: Callable[[Fragment], Fragment], voxel_size: float) -> None:
        """Thin each fragment with `prepare`, which raises InputError if too few points remain."""
        self._prepare = prepare
        self._farthest = FARTHEST * voxel_size
        self.paused = False
        self.fragments: list[Fragment] = []
        self.refused = dict.fromkeys(CURES, 0)

    def clear(self) -> None:
        """Forget fragments and counters; the next id is 0. `paused` stays."""
        self.fragments = []
        self.refused = dict.fromkeys(CURES, 0)

    def check(self, stamp_ns: int, frame_id: str, max_fragments: int) -> None:
        """Raise Refusal if a cloud of this header is not wanted now."""
        if self.paused:
            raise Refusal('paused', 'fragments are not taken')
        if len(self.fragments) >= max_fragments:
            raise Refusal('buffer_full', f'{max_fragments} fragments are held')
        if not frame_id:
            raise Refusal('no_frame_id', 'header.frame_id is empty')
        header = (stamp_ns, frame_id)
        if stamp_ns and any((each.stamp_ns, each.frame_id) == header for each in self.fragments):
            raise Refusal('stamp_repeated', f'frame {frame_id} at {stamp_ns} ns is held already')

    def add(self, points: NDArray[np.float32], stamp_ns: int, frame_id: str) -> Fragment:
        """
        Thin and keep `points` (N, 3) under the next id.

        Raises Refusal if a point is too far from the origin or too few points remain.
        """
        farthest = np.abs(points).max()
        if farthest > self._farthest:
            raise Refusal(
                'too_far', f'a coordinate is {farthest:g} m, the limit is {self._farthest:g} m')
        id = len(self.fragments)
        fragment = Fragment(
            points, id=id, stamp_ns=stamp_ns, frame_id=frame_id, name=f'fragment_{id:04d}')
        try:
            self.fragments.append(self._prepare(fragment))
        except InputError as error:
            raise Refusal(
                'too_few_points', f'of {len(points)} points too few remain after thinning',
            ) from error
        return self.fragments[-1]
