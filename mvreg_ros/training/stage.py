# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a stage of the training is to the loop that trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from mvreg_ros.training.config import StageConfig
import torch
from torch import nn, Tensor


class Stage(nn.Module, ABC):
    """
    A module that is trained, with its data, its losses and its figure of merit.

    Config: the settings that it is built from. figure: the name in `validate` of which the best
    weights have most. weights_digest: of the file of weights that it builds on, '' for none.
    Every parameter that requires a gradient takes part in every loss, be it with a weight of zero,
    as DDP demands.
    """

    Config: ClassVar[type[StageConfig]]
    figure: ClassVar[str]
    weights_digest: str = ''

    @classmethod
    @abstractmethod
    def build(cls, config: Any, folder: Path) -> Stage:
        """
        Return the stage of a `Config` with random weights, from torch's own generator.

        folder: of the training, for what takes long to compute. Raises InputError where the data
        cannot be used.
        """

    @abstractmethod
    def draw(self, step: int, generator: torch.Generator) -> Any:
        """
        Return a batch for a step, on the CPU.

        All that is random comes from the generator, so that a resumed run sees the same batches;
        nothing is changed, because a process of its own may do it.
        """

    @abstractmethod
    def forward(self, batch: Any) -> dict[str, Tensor]:
        """
        Return scalar losses by name, always the same names; 'loss' is minimised.

        The batch comes as it was drawn. torch's own generators are seeded before each call.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return figures on data that is not trained on, without a trace in the random state."""

    @abstractmethod
    def save(self, path: Path, provenance: Mapping[str, str]) -> None:
        """Write what the pipeline needs as a file of weights with where it comes from."""

    @abstractmethod
    def provenance(self) -> dict[str, str]:
        """Return texts about the data, such as the number of fragments."""

    def networks(self) -> list[nn.Module]:
        """Return the modules that compute in bfloat16 on CUDA; geometry and losses never do."""
        return []

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device
