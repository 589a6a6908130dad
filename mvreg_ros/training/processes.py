# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The processes that train together, where torchrun started several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
import os
from typing import TypeVar

from mvreg_ros.device import select_device
import torch
from torch import distributed

Item = TypeVar('Item')


@dataclass(frozen=True)
class Processes:
    """This process among those that train together: number `rank` of `count`, on `device`."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """
    Join the other processes of torchrun, by gloo on CPUs and nccl on GPUs, one GPU each.

    device: as the parameter. Raises InputError where it does not exist.
    """
    if not distributed.is_torchelastic_launched():
        yield Processes(0, 1, select_device(device))
        return
    chosen = select_device(device)
    if chosen.type == 'cuda':
        chosen = select_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group('nccl' if chosen.type == 'cuda' else 'gloo')
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), chosen)
    finally:
        distributed.destroy_process_group()


def own_share(items: Sequence[Item]) -> Sequence[Item]:
    """Return what this process does of work that all share; all wait for each other after it."""
    if not distributed.is_initialized():
        return items
    return items[distributed.get_rank()::distributed.get_world_size()]


def wait_for_all() -> None:
    """Wait until all processes are here."""
    if distributed.is_initialized():
        distributed.barrier()
