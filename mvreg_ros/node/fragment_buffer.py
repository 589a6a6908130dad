# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The fragments a session has accepted, and how many clouds were refused for which reason."""

from __future__ import annotations

from collections.abc import Callable

from mvreg_ros.data.acceptance import check_header, thinned
from mvreg_ros.refusal import CURES, Refusal
from mvreg_ros.types import Fragment
import numpy as np
from numpy.typing import NDArray


class FragmentBuffer:
    """Accepted fragments by id; `refused` counts the others by reason."""

    def __init__(self, prepare: Callable[[Fragment], Fragment], voxel_size: float) -> None:
        """Thin each fragment with `prepare`, which raises InputError if too few points remain."""
        self._prepare = prepare
        self._voxel_size = voxel_size
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
        check_header(stamp_ns, frame_id, self.fragments)

    def add(self, points: NDArray[np.float32], stamp_ns: int, frame_id: str) -> Fragment:
        """
        Thin and keep `points` (N, 3) under the next id.

        Raises Refusal if a point is too far from the origin or too few points remain.
        """
        id = len(self.fragments)
        fragment = Fragment(
            points, id=id, stamp_ns=stamp_ns, frame_id=frame_id, name=f'fragment_{id:04d}')
        self.fragments.append(thinned(fragment, self._prepare, self._voxel_size))
        return self.fragments[-1]
