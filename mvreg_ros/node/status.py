# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The state of the node as a diagnostic message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.resources import Resources
from mvreg_ros.node.watchdog import Problem
from std_msgs.msg import Header


def status(
    name: str, stamp: Time, buffer: FragmentBuffer, job: Mapping[str, str],
    seconds: Mapping[str, float], resources: Resources, problems: Sequence[Problem],
) -> DiagnosticArray:
    """
    Return what `~/status` and `/diagnostics` say.

    job: stage, progress and eta of the registration that runs, empty if none does. seconds: by
    stage of the last one. problems: with the input and the machine.
    """
    refused = sum(buffer.refused.values())
    values = {
        'fragments': len(buffer.fragments),
        'stage': 'idle', 'progress': '', 'eta': '', **job,
        'problem': '; '.join(problem.text for problem in problems),
        **resources.values,
        **{f'seconds.{each}': f'{value:.3f}' for each, value in seconds.items()},
        **{f'refused.{reason}': count for reason, count in buffer.refused.items()},
    }
    state = f"registering: {job['stage']}" if job else 'paused' if buffer.paused else 'ready'
    return DiagnosticArray(header=Header(stamp=stamp), status=[DiagnosticStatus(
        name=f'{name}: registration',
        level=max(
            DiagnosticStatus.WARN if refused else DiagnosticStatus.OK,
            *(problem.level for problem in problems), DiagnosticStatus.OK),
        message='; '.join([
            f'{state}, {len(buffer.fragments)} fragments'
            + (f', {refused} clouds refused' if refused else ''),
            *(problem.text for problem in problems)]),
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )])
