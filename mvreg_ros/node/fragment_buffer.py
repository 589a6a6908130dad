# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The fragments a session has accepted, and how many clouds were refused for which reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mvreg_ros.data.acceptance import check_header, thinned
from mvreg_ros.refusal import CURES, Refusal
from mvreg_ros.session.session import last_session, Session
from mvreg_ros.session.stored import numbered, usable
from mvreg_ros.types import Fragment


class FragmentBuffer:
    """
    Accepted fragments by id, each of them on the disk; `refused` counts the others by reason.

    session: where they are, None before the first.
    """

    def __init__(
        self, prepare: Callable[[Fragment], Fragment], voxel_size: float, directory: Path
    ) -> None:
        """
        Thin each fragment with `prepare`, which raises InputError if too few points remain.

        directory: of the sessions; it need not be there.
        """
        self._prepare = prepare
        self._voxel_size = voxel_size
        self._directory = directory
        self.session: Session | None = None
        self.paused = False
        self.fragments: list[Fragment] = []
        self.refused = dict.fromkeys(CURES, 0)

    @property
    def folder(self) -> Path:
        """Return where fragments are written, or will be; it need not be there."""
        return self._directory if self.session is None else self.session.folder

    def resume(self) -> list[Refusal]:
        """Go on with the last session; return what of it cannot be used, and why."""
        try:
            folder = last_session(self._directory)
            if folder is None:
                return []
            self.session = Session(folder)
        except Refusal as refusal:
            return [refusal]
        self.fragments, refusals = usable(self.session.found, self._prepare, self._voxel_size)
        self.session.found.fragments.clear()  # the thinned ones are enough
        return refusals

    def reset(self) -> None:
        """
        Forget fragments and counters, and begin a new session. `paused` stays.

        Raises Refusal if that cannot be written: the new session begins with the next fragment,
        but a node that is started before would go on with the old one.
        """
        self.fragments = []
        self.refused = dict.fromkeys(CURES, 0)
        if self.session is not None and not self.session.untouched:
            self.close()
            self.session = Session.create(self._directory)

    def close(self) -> None:
        """Let another node go on with the session."""
        if self.session is not None:
            self.session.close()
            self.session = None

    def check(self, stamp_ns: int, frame_id: str, max_fragments: int) -> None:
        """Raise Refusal if a cloud of this header is not wanted now."""
        if self.paused:
            raise Refusal('paused', 'fragments are not taken')
        if len(self.fragments) >= max_fragments:
            raise Refusal('buffer_full', f'{max_fragments} fragments are held')
        check_header(stamp_ns, frame_id, self.fragments)

    def add(self, fragment: Fragment) -> Fragment:
        """
        Thin and keep a fragment under the next id, and return it when it is on the disk.

        Raises Refusal if a point is too far from the origin, too few points remain, or it cannot
        be written.
        """
        fragment = thinned(fragment, self._prepare, self._voxel_size)
        if self.session is None:
            self.session = Session.create(self._directory)
        self.session.append(fragment)
        self.fragments.append(numbered(fragment, len(self.fragments)))
        return self.fragments[-1]
