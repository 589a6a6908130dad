# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one place that decides which device is used, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from mvreg_ros.types import InputError
import torch


def select_device(name: str) -> torch.device:
    """
    Return the device called `name`; 'auto' takes CUDA where there is one, else the CPU.

    Raises InputError where the device does not exist on this machine.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f'device {name!r} cannot be used here, take auto: {error}') from error
    return device


def autocast(device: torch.device) -> AbstractContextManager:
    """
    Return the context for inference: half precision on CUDA, nothing elsewhere.

    Not bfloat16, which has an eighth of the precision: instance norms enlarge what it rounds off.
    """
    return torch.autocast('cuda', torch.float16) if device.type == 'cuda' else nullcontext()
