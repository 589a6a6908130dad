# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node has of the machine, and whether it is enough."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import shutil

from diagnostic_msgs.msg import DiagnosticStatus
from mvreg_ros.device import select_device
from mvreg_ros.gpu_memory import gpu_memory_mb
from mvreg_ros.node.fragment_buffer import FragmentBuffer
from mvreg_ros.node.watchdog import Problem
import psutil

# MiB. A thousand fragments of 30,000 points need a third of it, what is computed of them the rest.
LOW_DISK = 1000.0


@dataclass(frozen=True)
class Resources:
    """
    Memory and disk, in MiB.

    process: resident memory. fragments: what the points of the fragments need of it. disk_free:
    where the session is; None where that cannot be said. gpu: held by torch; None without.
    """

    process: float
    fragments: float
    disk_free: float | None
    gpu: float | None

    @classmethod
    def of(cls, buffer: FragmentBuffer, device: str) -> Resources:
        """Look at this process, its fragments, and the disk they are on."""
        return cls(
            process=psutil.Process().memory_info().rss / 2**20,
            fragments=sum(each.points.nbytes for each in buffer.fragments) / 2**20,
            disk_free=disk_free(buffer.folder), gpu=gpu_memory_mb(select_device(device)))

    @property
    def problem(self) -> Problem | None:
        """Return what is wrong with the disk, if something is."""
        if self.disk_free is None or self.disk_free >= LOW_DISK:
            return None
        return Problem(
            DiagnosticStatus.WARN,
            f'the disk of session.directory has {self.disk_free:.0f} MiB left, less than '
            f'{LOW_DISK:.0f}: free some; fragments are refused when it is full')

    @property
    def values(self) -> dict[str, str]:
        """Return the values of `~/status`."""
        values = {
            'memory_mb': self.process, 'fragments_mb': self.fragments,
            'disk_free_mb': self.disk_free, 'gpu_memory_mb': self.gpu}
        return {key: f'{value:.1f}' for key, value in values.items() if value is not None}


def disk_free(folder: Path) -> float | None:
    """Return the space in MiB that is free for a folder, which need not be there yet."""
    try:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        return shutil.disk_usage(there).free / 2**20
    except OSError:
        return None
