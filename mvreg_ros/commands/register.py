# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg register`: files in, one map out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
import time

from mvreg_ros.commands.console import ProgressReport, say
from mvreg_ros.commands.options import parameter_values
from mvreg_ros.data.bags import is_bag, read_bag
from mvreg_ros.data.clouds import input_files, read_fragments
from mvreg_ros.data.files import new_folder
from mvreg_ros.data.outputs import write_files
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.types import Fragment, Registration, Verdict
import numpy as np


def run(args: Namespace) -> None:
    """Register the inputs and write the results; raises InputError."""
    begin = time.monotonic()
    bag = args.inputs[0] if len(args.inputs) == 1 and is_bag(args.inputs[0]) else None
    files = [] if bag else input_files(args.inputs)
    parameters = parameter_values(args)
    registration = MultiviewRegistration.from_pretrained(**parameters)
    with new_folder(args.out) as folder:
        progress = ProgressReport()
        if bag:
            fragments, refused = read_bag(
                bag, args.topic, registration.prepare, registration.voxel_size, progress)
        else:
            fragments, refused = read_fragments(files, registration.prepare, progress), []
        result = registration.register(fragments, progress)
        progress.close()
        write_files(folder, fragments, result, parameters)
    say(summary(fragments, result))
    if refused:
        say('\n  '.join([f'refused: {len(refused)} messages', *refused]))
    say(f'wrote {args.out} in {time.monotonic() - begin:.1f} s')


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
