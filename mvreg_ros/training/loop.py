# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The loop that trains every stage; it can be killed at any moment and goes on from its folder.

What a step does depends on the seed and the number of the step alone. A step averages over some
batches, which processes share: on the CPU two processes with one batch each take the step that one
process with both takes. Not so the running statistics of batch norms: they are those of the first
process's batches alone, so that a validation of FCGF and its weights depend on the processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
import io
import logging
from pathlib import Path
import time
from typing import Any, cast

from mvreg_ros.data.files import write_atomic
from mvreg_ros.training.config import differences, StageConfig
from mvreg_ros.training.journal import Journal
from mvreg_ros.training.processes import Processes
from mvreg_ros.training.stage import Stage
from mvreg_ros.types import InputError, no_progress, Progress
from mvreg_ros.weights.checkpoint import one_line
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

LOGGER = logging.getLogger(__name__)
CHECKPOINT, WEIGHTS = 'checkpoint.pt', 'weights.safetensors'
# What may change while a training rests.
FREE = {'loop.device', 'loop.workers', 'loop.checkpoint_seconds'}


def seed_of(seed: int, step: int, part: int) -> int:
    """Return the seed of batch `part` of a step."""
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0])


def compute_in_bfloat16(modules: Iterable[nn.Module], device_type: str) -> None:
    """Let the forward passes of modules be in bfloat16, and nothing around them."""
    for module in modules:
        module.forward = torch.autocast(device_type, torch.bfloat16)(module.forward)


class Batches(Dataset):
    """The batches that one process draws: its parts of each step, one after the other."""

    def __init__(self, stage: Stage, seed: int, first: int, parts: int) -> None:
        """Draw parts first, first + 1, ... of each step, `parts` in number."""
        self.stage, self.seed, self.first, self.parts = stage, seed, first, parts

    def __getitem__(self, index: int) -> tuple[int, Any]:
        """Return the seed of a batch, and the batch."""
        step, part = divmod(index, self.parts)
        seed = seed_of(self.seed, step, self.first + part)
        return seed, self.stage.draw(step, torch.Generator().manual_seed(seed))


class Training:
    """
    A stage on its way to being trained.

    folder: gets checkpoint.pt, losses.csv, validation.csv, tensorboard/ and weights.safetensors,
    the best so far; each process has to see it. provenance: texts for the file of weights, which
    gets the step, the hours and the figures besides. spent: seconds that the stage took to build.
    """

    def __init__(
        self, stage: Stage, config: StageConfig, processes: Processes, folder: Path,
        provenance: Mapping[str, str], spent: float = 0.0,
    ) -> None:
        """
        Begin, or go on where there is a checkpoint.

        Raises InputError where it is of another configuration, or the batches of a step cannot be
        shared.
        """
        self.loop = loop = config.loop
        if loop.batches % processes.count:
            raise InputError(f'{loop.batches} batches a step cannot be shared by '
                             f'{processes.count} processes: set loop.batches to a multiple')
        self.parts = loop.batches // processes.count
        self.stage, self.config, self.processes = stage.to(processes.device), config, processes
        if processes.device.type == 'cuda':
            compute_in_bfloat16(stage.networks(), 'cuda')
        self.folder, self.provenance = folder, provenance
        self.parameters = [p for p in stage.parameters() if p.requires_grad]
        self.optimizer = loop.make_optimizer(self.parameters)
        self.step, self.best, self.begin = 0, -np.inf, time.monotonic() - spent
        folder.mkdir(parents=True, exist_ok=True)
        state = self.resume() if (folder / CHECKPOINT).exists() else {}
        self.journal = Journal(folder, state) if processes.first else None
        self.saved = time.monotonic()

    def run(self, progress: Progress = no_progress) -> None:
        """Train until the last step."""
        module: nn.Module = self.stage
        if self.processes.count > 1:
            module = DistributedDataParallel(self.stage)
        batches = self.batches()
        last = self.loop.steps
        while self.step < last:
            rate = self.loop.rate_at(self.step)
            self.train_step(module, batches, rate)
            self.step += 1
            if self.journal and (self.step % self.loop.log_steps == 0 or self.step == last):
                self.journal.write_losses(self.step, self.seconds, rate)
            validated = self.step % self.loop.validate_steps == 0 or self.step == last
            if validated:
                self.validate()
            if validated or time.monotonic() - self.saved >= self.loop.checkpoint_seconds:
                self.save()
            progress('training', self.step, last)
        if self.journal:
            self.journal.close()

    @property
    def seconds(self) -> float:
        """How long this training has taken with its data, interruptions not counted."""
        return time.monotonic() - self.begin

    def batches(self) -> Iterator[tuple[int, Any]]:
        """Return the batches of this process, from the next step on."""
        parts, loop = self.parts, self.loop
        dataset = Batches(self.stage, loop.seed, self.processes.rank * parts, parts)
        indices = range(self.step * parts, loop.steps * parts)
        return iter(DataLoader(
            dataset, sampler=indices, batch_size=None, num_workers=loop.workers))

    def train_step(
        self, module: nn.Module, batches: Iterator[tuple[int, Any]], rate: float
    ) -> None:
        """Take one step of the optimiser."""
        self.stage.train()
        for part in range(self.parts):
            seed, batch = next(batches)
            torch.manual_seed(seed)
            # Gradients are exchanged once, in the last backward pass.
            waits = isinstance(module, DistributedDataParallel) and part < self.parts - 1
            with cast(DistributedDataParallel, module).no_sync() if waits else nullcontext():
                losses: dict[str, Tensor] = module(batch)
                (losses['loss'] / self.parts).backward()
            if self.journal:
                self.journal.add({name: loss.detach() for name, loss in losses.items()})
        norm = nn.utils.clip_grad_norm_(self.parameters, self.loop.clip or torch.inf)
        if norm.isfinite():
            for group in self.optimizer.param_groups:
                group['lr'] = rate
            self.optimizer.step()
        else:
            LOGGER.warning('step %d has a gradient that is not finite and is left out', self.step)
        self.optimizer.zero_grad()

    def validate(self) -> None:
        """Measure the stage, and keep its weights where none were better."""
        self.stage.eval()
        with torch.no_grad():
            figures = self.stage.validate()
        found = figures[self.stage.figure]
        if self.journal:
            self.journal.write_figures(self.step, self.seconds, figures)
            if found >= self.best:
                self.stage.save(self.folder / WEIGHTS, {
                    **self.provenance, 'step': str(self.step),
                    'hours': f'{self.seconds / 3600:.3g}',
                    'processes': str(self.processes.count),
                    **{name: f'{value:.4g}' for name, value in figures.items()}})
        self.best = max(self.best, found)

    def save(self) -> None:
        """Write a checkpoint."""
        self.saved = time.monotonic()
        if self.journal is None:
            return
        buffer = io.BytesIO()
        torch.save({
            'config': asdict(self.config), 'step': self.step, 'seconds': self.seconds,
            'best': float(self.best), 'stage': self.stage.state_dict(),
            'weights_digest': self.stage.weights_digest,
            'optimizer': self.optimizer.state_dict(), 'journal': self.journal.state(self.step),
        }, buffer)
        write_atomic(self.folder / CHECKPOINT, buffer.getvalue())

    def resume(self) -> dict[str, Any]:
        """Go on from the checkpoint, and return the state of its journal."""
        path = self.folder / CHECKPOINT
        try:
            state = torch.load(path, self.processes.device, weights_only=True)
        except Exception as error:  # a damaged file may raise anything
            raise InputError(f'{path}: cannot be read, remove it to begin anew: '
                             f'{one_line(error)}') from error
        changed = differences(state['config'], self.config, FREE)
        if changed:
            raise InputError(f'{path}: was trained otherwise, {changed[0]}: put it back, or name '
                             'a new folder')
        if state.get('weights_digest', '') != self.stage.weights_digest:
            raise InputError(f'{path}: was begun with other weights than are in the file now: put '
                             'them back, or name a new folder')
        self.stage.load_state_dict(state['stage'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.step, self.best = state['step'], state['best']
        self.begin -= state['seconds']
        return state['journal']
