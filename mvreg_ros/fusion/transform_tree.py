# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tree of frames of a robot: which frame was where in which other, at a time of the past."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import chain

from mvreg_ros.fusion.motion import is_set_back, jumps
from mvreg_ros.types import FloatArray
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

SECOND = 1_000_000_000
HISTORY_NS = 10 * SECOND  # as long as tf2 remembers
# Messages of one link overtake each other by less; a bag that begins again goes back by more.
JUMP_NS = 2 * SECOND


class TransformError(LookupError):
    """A transform that is not known; `may_come` is False where waiting for it is in vain."""

    def __init__(self, what: str, *, may_come: bool) -> None:
        """Say what is missing."""
        super().__init__(what)
        self.may_come = may_come


@dataclass
class Link:
    """
    Where a frame is in its parent: T_parent_child at increasing stamps of a run, or always.

    odometry: whether it begins at the identity and comes back there only by driving.
    """

    parent: str
    static: bool
    run: int
    odometry: bool
    stamps: list[int] = field(default_factory=list)
    transforms: list[FloatArray] = field(default_factory=list)

    def add(self, stamp_ns: int, T_parent_child: FloatArray) -> None:
        """Remember a transform; drop what is older than the history."""
        at = bisect_left(self.stamps, stamp_ns)
        repeated = self.stamps[at:at + 1] == [stamp_ns]
        self.stamps[at:at + repeated] = [stamp_ns]
        self.transforms[at:at + repeated] = [T_parent_child]
        old = bisect_left(self.stamps, self.stamps[-1] - HISTORY_NS)
        del self.stamps[:old], self.transforms[:old]

    def is_torn_by(self, stamp_ns: int, T_parent_child: FloatArray) -> bool:
        """Return whether a transform is of another run than the ones before and after it."""
        if self.static:
            return False
        before = bisect_left(self.stamps, stamp_ns) - 1
        after = bisect_right(self.stamps, stamp_ns)
        if before >= 0:
            seconds = (stamp_ns - self.stamps[before]) / SECOND
            if self._begins_anew(self.transforms[before], T_parent_child, seconds):
                return True
        if after < len(self.stamps):
            seconds = (self.stamps[after] - stamp_ns) / SECOND
            return self._begins_anew(T_parent_child, self.transforms[after], seconds)
        return False

    def _begins_anew(self, T_before: FloatArray, T_after: FloatArray, seconds: float) -> bool:
        # A joint may be silent and may go home, which is the identity; odometry may not.
        return jumps(T_before, T_after, seconds) or (
            self.odometry and is_set_back(T_before, T_after, seconds))

    def at(self, stamp_ns: int) -> FloatArray:
        """Return T_parent_child, interpolated; raise TransformError outside what is remembered."""
        if self.static:
            return self.transforms[-1]
        first, last = self.stamps[0], self.stamps[-1]
        if stamp_ns > last:
            ahead = (stamp_ns - last) / SECOND
            raise TransformError(f'it is {ahead:.3f} s after the last transform', may_come=True)
        if stamp_ns < first:
            before = (first - stamp_ns) / SECOND
            raise TransformError(f'it is {before:.3f} s before all transforms', may_come=False)
        after = bisect_left(self.stamps, stamp_ns)
        if self.stamps[after] == stamp_ns:
            return self.transforms[after]
        span = self.stamps[after] - self.stamps[after - 1]
        share = (stamp_ns - self.stamps[after - 1]) / span
        return interpolated(self.transforms[after - 1], self.transforms[after], share)


class TransformTree:
    """
    Transforms between frames by time, as tf2 answers them.

    A frame has one parent; when it gets another, or another kind of link, the old link is
    forgotten. Stamps are in nanoseconds.

    What is remembered of a link is of one run of odometry. Another run begins, and the transforms
    of before are forgotten, where time jumps back, where a frame gets another parent, and where a
    pose jumps as no robot does or odometry is set back.
    """

    def __init__(self, odom_frame: str, first_run: int = 0) -> None:
        """Know nothing; odometry is what moves in `odom_frame`, its runs start at `first_run`."""
        self._odom_frame = odom_frame
        self._links: dict[str, Link] = {}
        self._run = self._newest_run = first_run

    def add(
        self, parent: str, child: str, stamp_ns: int, T_parent_child: FloatArray, *, static: bool,
    ) -> bool:
        """
        Remember a transform; return whether it shows that time has jumped back.

        In that case all that moved is forgotten first: it is of another time.
        """
        link = self._links.get(child)
        jumped = False
        if link is None:
            link = self._begin(parent, child, static, self._run)
        elif link.parent != parent:
            link = self._begin(parent, child, static, self._next_run())
        elif link.static != static:
            # Some publish a link as both kinds, in turn.
            same = np.array_equal(link.transforms[-1], T_parent_child)
            link = self._begin(parent, child, static, link.run if same else self._next_run())
        elif not static and stamp_ns < link.stamps[-1] - JUMP_NS:
            jumped = True
            self.clear()
            link = self._begin(parent, child, static, self._run)
        elif link.is_torn_by(stamp_ns, T_parent_child):
            if stamp_ns < link.stamps[0]:
                return False  # comes late, from before the run began
            link = self._begin(parent, child, static, self._next_run())
        link.add(0 if static else stamp_ns, T_parent_child)
        return jumped

    def _begin(self, parent: str, child: str, static: bool, run: int) -> Link:
        """Forget what the link to a child was; return one that knows nothing yet."""
        odometry = self._odom_frame in (parent, child)
        link = self._links[child] = Link(parent, static, run, odometry)
        return link

    def _next_run(self) -> int:
        """Return the number of a run that is none of those before."""
        self._newest_run += 1
        return self._newest_run

    def clear(self) -> None:
        """
        Forget what moves, and begin a run.

        Static transforms stay: their publishers do not send them again.
        """
        self._run = self._next_run()
        self._links = {child: link for child, link in self._links.items() if link.static}

    def lookup(self, target: str, source: str, stamp_ns: int) -> FloatArray:
        """Return T_target_source (4, 4) at a time; raise TransformError if it is not known."""
        branches = self._branches(target, source)
        if branches is None:
            raise TransformError(
                f'no transform links {source} to {target}', may_come=True)
        try:
            T_common_target, T_common_source = (self._up(each, stamp_ns) for each in branches)
        except TransformError as error:
            raise TransformError(
                f'no transform from {source} to {target} at {stamp_ns / SECOND:.3f} s: {error}',
                may_come=error.may_come) from error
        return np.linalg.inv(T_common_target) @ T_common_source

    def run(self, target: str, source: str) -> int:
        """Return the number of the run that T_target_source is of now."""
        frames = chain.from_iterable(self._branches(target, source) or ())
        return max([self._run, *(self._links[frame].run for frame in frames)])

    def _branches(self, target: str, source: str) -> tuple[list[str], list[str]] | None:
        """Return the frames from either up to below the one where they meet, if they do."""
        from_target, from_source = self._ancestors(target), self._ancestors(source)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None:
            return None
        return from_target[:from_target.index(common)], from_source[:from_source.index(common)]

    def _ancestors(self, frame: str) -> list[str]:
        """Return the frame, its parent, and so on; a loop ends where it closes."""
        found = [frame]
        while (link := self._links.get(found[-1])) and link.parent not in found:
            found.append(link.parent)
        return found

    def _up(self, frames: list[str], stamp_ns: int) -> FloatArray:
        """Return T_end_start at a time, from the first frame to the parent of the last."""
        T = np.eye(4)
        for frame in frames:
            T = self._links[frame].at(stamp_ns) @ T
        return T


def interpolated(T_a: FloatArray, T_b: FloatArray, share: float) -> FloatArray:
    """Return the pose (4, 4) a share, 0 to 1, of the way from T_a to T_b, as tf2 does."""
    T = np.eye(4)
    rotations = Rotation.from_matrix([T_a[:3, :3], T_b[:3, :3]])
    T[:3, :3] = Slerp([0, 1], rotations)(share).as_matrix()
    T[:3, 3] = (1 - share) * T_a[:3, 3] + share * T_b[:3, 3]
    return T
