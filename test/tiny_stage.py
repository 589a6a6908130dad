# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A stage that learns a line in milliseconds, and a program that trains it.

    python tiny_stage.py DIR STEPS BATCHES [KILL_AT_DRAW]
"""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import signal
import sys
from typing import Any

from mvreg_ros.training.config import DataConfig, StageConfig
from mvreg_ros.training.loop import Training
from mvreg_ros.training.optimization import LoopConfig
from mvreg_ros.training.processes import joined_processes
from mvreg_ros.training.stage import Stage
from safetensors.torch import save_file
import torch
from torch import nn, Tensor

TRUTH = torch.tensor([[1.0], [-2.0], [0.5]])


class TinyStage(Stage):
    """Learns three numbers; dropout makes the forward pass random."""

    Config = StageConfig
    figure = 'accuracy'

    def __init__(self, kill_at: int = -1) -> None:
        """Kill the process when the batch of step `kill_at` is drawn."""
        super().__init__()
        self.kill_at = kill_at
        self.dropout = nn.Dropout(0.2)
        self.layer = nn.Linear(3, 1)

    @classmethod
    def build(cls, config: Any, folder: Path) -> TinyStage:
        """Return the stage."""
        return cls()

    def draw(self, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return points and what the line makes of them."""
        if step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        x = torch.randn(8, 3, generator=generator)
        return x, x @ TRUTH

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the squared error."""
        x, y = batch
        loss = (self.layer(self.dropout(x)) - y).square().mean()
        return {'loss': loss, 'half': loss.detach() / 2}

    def validate(self) -> dict[str, float]:
        """Return minus the error, after disturbing the random state."""
        torch.rand(3)
        return {'accuracy': -float((self.layer.weight - TRUTH.T).norm())}

    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write the parameters."""
        save_file(self.state_dict(), path, dict(provenance))

    def provenance(self) -> dict[str, str]:
        """Return nothing."""
        return {}


def tiny_config(steps: int, batches: int, **others: Any) -> StageConfig:
    """Return a configuration with a checkpoint after every validation only."""
    settings = {'device': 'cpu', 'seed': 3, 'warmup': 3, 'clip': 1.0, 'log_steps': 2,
                'validate_steps': 7, 'checkpoint_seconds': 1e9, **others}
    return StageConfig(DataConfig((), ()), LoopConfig(steps, 0.05, batches=batches, **settings))


def tiny_training(folder: Path, config: StageConfig, kill_at: int = -1) -> Training:
    """Train the stage, in all processes of torchrun, and return what is left."""
    with joined_processes('cpu') as processes:
        torch.manual_seed(config.loop.seed)
        training = Training(TinyStage(kill_at), config, processes, folder, {'source': 'tiny'})
        training.run()
    return training


if __name__ == '__main__':
    out, *numbers = sys.argv[1:]
    steps, batches, kill_at = (*map(int, numbers), -1)[:3]
    tiny_training(Path(out), tiny_config(steps, batches), kill_at)
