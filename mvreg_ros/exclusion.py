# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments that a registration leaves out: they keep their ids, and the others theirs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
import re
from typing import TYPE_CHECKING

from mvreg_ros.types import Fragment, InputError, no_progress, Progress, Registration
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mvreg_ros.register import MultiviewRegistration

MOST = 10**6  # ids named; to take millions in would hold up the node for seconds
IDS = re.compile(r'([0-9]{1,6})(?:-([0-9]{1,6}))?')


def parse_ids(text: str) -> frozenset[int]:
    """
    Return the ids that a text such as '3 7 12-15' names, with both ends of a range.

    Raises InputError for a text of another form, and where it names too many.
    """
    ids: set[int] = set()
    named = 0
    for word in text.replace(',', ' ').split():
        match = IDS.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InputError(
                f'{word[:20]!r} is neither an id nor a range of ids: write such as 3 7 12-15')
        named += last - first + 1
        if named > MOST:
            raise InputError(f'more than {MOST} ids are named: name each once')
        ids.update(range(first, last + 1))
    return frozenset(ids)


def check_held(ids: Collection[int], count: int) -> None:
    """Raise InputError if one of the ids is none of `count` fragments."""
    if max(ids, default=-1) >= count:
        there = f'there are 0 to {count - 1}' if count else 'there are none'
        raise InputError(f'no fragment has the id {max(ids)}, {there}: exclude others')


def register_without(
    registration: MultiviewRegistration, fragments: Sequence[Fragment],
    excluded: Collection[int], progress: Progress = no_progress,
) -> Registration:
    """
    Register all fragments but the excluded, which are not placed for the reason 'excluded'.

    excluded: ids, which are places in `fragments`. The result is that of the others alone, under
    the ids that they have among all. Raises InputError for an id that is none, where fewer than
    two are left, and as `register` does.
    """
    check_held(excluded, len(fragments))
    kept = np.array([k for k in range(len(fragments)) if k not in excluded], np.int64)
    if excluded and len(kept) < 2:
        raise InputError(
            f'{len(kept)} of {len(fragments)} fragments are left, two are needed: exclude fewer')
    result = registration.register([fragments[k] for k in kept], progress)
    return among_all(result, kept, len(fragments))


def among_all(registration: Registration, kept: NDArray[np.int64], count: int) -> Registration:
    """Return a registration of the fragments `kept` (S,) as one of all `count`."""
    poses, covariances = np.full((count, 4, 4), np.nan), np.full((count, 6, 6), np.nan)
    placed, component = np.zeros(count, bool), np.full(count, -1)
    reason = np.full(count, 'excluded', object)
    poses[kept], covariances[kept] = registration.poses, registration.covariances
    placed[kept], component[kept] = registration.placed, registration.component
    reason[kept] = registration.reason
    edges = registration.edges
    return replace(
        registration, poses=poses, covariances=covariances, placed=placed, component=component,
        reason=reason, edges=replace(edges, i=kept[edges.i], j=kept[edges.j]))
