# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keypoints to find again among those of another fragment, and the loss of it (InfoNCE)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math

import torch
from torch import nn, Tensor
from torch.nn.functional import cross_entropy

# The temperature of the contrast is learnt, within these bounds.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.02, 0.2


@dataclass(frozen=True)
class Contrast:
    """
    Keypoints to find again.

    anchors: (A, C) inputs. candidates: (N, C) inputs of the other fragment. positive: (A,) the row
    of the same keypoint. same: (A, N) bool, rows so near the positive that they are no others.
    """

    anchors: Tensor
    candidates: Tensor
    positive: Tensor
    same: Tensor


class ContrastLoss(nn.Module):
    """The cross entropy of the right one among all candidates, with a temperature to learn."""

    def __init__(self, temperature: float) -> None:
        """Begin with a temperature."""
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(self, network: Callable[[Tensor], Tensor], batch: Contrast) -> Tensor:
        """Return the loss of the descriptors that a network makes of inputs, on its device."""
        device = self.temperature.device
        anchors, candidates = (
            network(inputs.to(device).float()) for inputs in (batch.anchors, batch.candidates))
        low, high = math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
        scores = anchors @ candidates.T / self.temperature.clamp(low, high).exp()
        scores = scores.masked_fill(batch.same.to(device), -torch.inf)
        return cross_entropy(scores, batch.positive.to(device))


def others_masked(world: Tensor, positive: Tensor, negative: float) -> Tensor:
    """
    Return (A, N) bool, which keypoints are nearer the positive than `negative`, but not itself.

    world: (N, 3) metres of the candidates. positive: (A,) rows of these.
    """
    same = torch.cdist(world[positive], world) < negative
    same[torch.arange(len(positive)), positive] = False
    return same
