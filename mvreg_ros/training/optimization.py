# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of the loop that all stages share: the optimiser, its schedule, what is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import math

from torch import nn
from torch.optim import Adam, AdamW, Optimizer, SGD

OPTIMIZERS = ('adam', 'adamw', 'sgd')
SCHEDULES = ('cosine', 'exponential')


@dataclass(frozen=True)
class LoopConfig:
    """
    How a stage is trained.

    seed: of the first weights and of all batches. device: as the parameter of that name. steps:
    of the optimiser. batches: averaged over in a step, shared by the processes. optimizer: adam,
    adamw or sgd (with momentum). rate: of learning at its highest, after `warmup` steps. schedule:
    cosine, to zero at the last step, or exponential, times `decay` every `decay_steps` steps.
    clip: longest gradient, 0 for any. workers: processes of each process that draw batches, 0 for
    none. log_steps: of which a row of the CSV is the mean. validate_steps: between validations.
    checkpoint_seconds: between checkpoints. Raises ValueError for what makes no sense.
    """

    steps: int
    rate: float
    seed: int = 0
    device: str = 'auto'
    batches: int = 1
    optimizer: str = 'adamw'
    weight_decay: float = 0.0
    momentum: float = 0.8
    schedule: str = 'cosine'
    warmup: int = 0
    decay: float = 1.0
    decay_steps: int = 1
    clip: float = 0.0
    workers: int = 0
    log_steps: int = 10
    validate_steps: int = 1000
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Check the numbers, which come from a file."""
        for name in ('steps', 'rate', 'batches', 'decay', 'decay_steps', 'log_steps',
                     'validate_steps'):
            if not getattr(self, name) > 0:
                raise ValueError(f'{name} must be more than 0: {getattr(self, name)!r}')
        for name in ('seed', 'weight_decay', 'warmup', 'clip', 'workers', 'checkpoint_seconds'):
            if not getattr(self, name) >= 0:
                raise ValueError(f'{name} must not be negative: {getattr(self, name)!r}')
        for name, allowed in (('optimizer', OPTIMIZERS), ('schedule', SCHEDULES)):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}: {getattr(self, name)!r}")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if self.schedule == 'exponential':
            return self.rate * self.decay ** (step // self.decay_steps)
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (1 + math.cos(math.pi * done)) / 2

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return a fresh optimiser."""
        rate, decay = self.rate, self.weight_decay
        if self.optimizer == 'sgd':
            return SGD(parameters, rate, momentum=self.momentum, weight_decay=decay)
        kind = AdamW if self.optimizer == 'adamw' else Adam
        return kind(parameters, rate, weight_decay=decay)
