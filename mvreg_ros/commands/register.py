# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg register`: files in, one map out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
import time

from mvreg_ros.cluster import spread
from mvreg_ros.commands.console import ProgressReport, say
from mvreg_ros.commands.options import parameter_values
from mvreg_ros.data.bags import is_bag, read_bag
from mvreg_ros.data.clouds import input_files, read_fragments
from mvreg_ros.data.files import new_folder
from mvreg_ros.data.outputs import write_files
from mvreg_ros.exclusion import parse_ids, register_without
from mvreg_ros.refusal import Refusal
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.session.stored import Content, is_session, read_session, usable
from mvreg_ros.types import Fragment, InputError, Progress, Registration, Verdict
import numpy as np

# Returns fragments, and why others were refused.
Reader = Callable[
    [MultiviewRegistration, Progress], tuple[list[Fragment], Sequence[str | Refusal]]]


def run(args: Namespace) -> None:
    """Register the inputs and write the results; raises InputError."""
    begin = time.monotonic()
    read = reader(args.inputs, args.topic)
    parameters = parameter_values(args)
    excluded = parse_ids(args.exclude)
    registration = MultiviewRegistration.from_pretrained(**parameters)
    with new_folder(args.out) as folder, spread(registration, args.ray):
        progress = ProgressReport()
        fragments, refused = read(registration, progress)
        result = register_without(registration, fragments, excluded, progress)
        progress.close()
        write_files(folder, fragments, result, parameters | {'exclude': args.exclude})
    say(summary(fragments, result))
    if refused:
        say('\n  '.join([f'refused: {len(refused)}', *map(str, refused)]))
    say(f'wrote {args.out} in {time.monotonic() - begin:.1f} s')


def reader(inputs: Sequence[Path], topic: str) -> Reader:
    """Return what reads the inputs; raises InputError where that cannot be done."""
    path = inputs[0]
    if len(inputs) == 1 and is_bag(path):
        return lambda registration, progress: read_bag(
            path, topic, registration.prepare, registration.voxel_size, progress)
    if topic and not is_bag(path):
        raise InputError(f'--topic {topic} is for a bag, and {path} is none: leave it out')
    if len(inputs) == 1 and is_session(path):
        content = read_session(path)
        return lambda registration, _: _usable(path, content, registration)
    files = input_files(inputs)
    return lambda registration, progress: (
        read_fragments(files, registration.prepare, progress), [])


def _usable(
    path: Path, content: Content, registration: MultiviewRegistration,
) -> tuple[list[Fragment], list[Refusal]]:
    """Return what of a session can be used, and refusals; raises InputError below two."""
    fragments, refused = usable(content, registration.prepare, registration.voxel_size)
    if len(fragments) < 2:
        raise InputError(
            f'{path}: {len(fragments)} fragments can be used, two are needed'
            + (f'; {refused[0]}' if refused else ''))
    return fragments, refused


def summary(fragments: Sequence[Fragment], result: Registration) -> str:
    """Return a line for each component and one for each fragment that was not placed."""
    used = result.edges.select(result.edges.used)
    lines = []
    for component in range(result.component.max(initial=-1) + 1):
        members = list(result.members(component))
        inside = used.select(np.isin(used.i, members) & np.isin(used.j, members))
        bridges = int((inside.verdict == Verdict.BRIDGE).sum())
        frame = f'map_{component}' if component else 'map'
        lines.append(f'{frame}: {len(members)} of {len(fragments)} fragments, {len(inside)} edges'
                     + (f', {bridges} of them the only link between two parts' if bridges else ''))
    left_out = [fragment for fragment in fragments if not result.placed[fragment.id]]
    if left_out:
        lines.append(f'not placed: {len(left_out)} of {len(fragments)} fragments')
        lines += [f'  {fragment.id:4d}  {fragment.name:24}  {result.reason[fragment.id]}'
                  for fragment in left_out]
    return '\n'.join(lines)
