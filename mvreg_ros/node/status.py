# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The state of the node as a diagnostic message."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.job import Stage
from mvreg_ros.node.watchdog import Problem
from std_msgs.msg import Header


def status(
    name: str, stamp: Time, buffer: FragmentBuffer, stage: Stage | None, seconds: dict[str, float],
    problem: Problem | None,
) -> DiagnosticArray:
    """
    Return what `~/status` and `/diagnostics` say.

    stage: of the registration that runs, if one does. seconds: by stage of the last one.
    problem: with the input.
    """
    refused = sum(buffer.refused.values())
    values = {
        'fragments': len(buffer.fragments),
        'stage': stage.name if stage else 'idle',
        'progress': f'{stage.progress:.3f}' if stage else '',
        'eta': f'{stage.eta:.1f}' if stage and stage.eta is not None else '',
        'problem': problem.text if problem else '',
        **{f'seconds.{each}': f'{value:.3f}' for each, value in seconds.items()},
        **{f'refused.{reason}': count for reason, count in buffer.refused.items()},
    }
    state = f'registering: {stage.name}' if stage else 'paused' if buffer.paused else 'ready'
    return DiagnosticArray(header=Header(stamp=stamp), status=[DiagnosticStatus(
        name=f'{name}: registration',
        level=max(
            DiagnosticStatus.WARN if refused else DiagnosticStatus.OK,
            problem.level if problem else DiagnosticStatus.OK),
        message=f'{state}, {len(buffer.fragments)} fragments'
                + (f', {refused} clouds refused' if refused else '')
                + (f'; {problem.text}' if problem else ''),
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )])
