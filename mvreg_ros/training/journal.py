# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a training writes down as it goes: rows of CSV files, and the same for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
import csv
import os
from pathlib import Path
from typing import Any, TextIO

from mvreg_ros.types import InputError
from torch import Tensor


class Table:
    """A CSV file with a row for some steps; what was written after a checkpoint can be cut off."""

    def __init__(self, path: Path, size: int) -> None:
        """Keep the first `size` bytes of the file."""
        self.file: TextIO = path.open('a', newline='')
        self.file.truncate(min(size, self.size))
        self.file.seek(0, os.SEEK_END)

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row, and before the first the names."""
        writer = csv.DictWriter(self.file, list(row))
        if self.file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
        self.file.flush()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.file.tell()


class Journal:
    """
    The losses (losses.csv) and figures (validation.csv) of a training, and both for TensorBoard.

    Losses are means over the steps since the last row.
    """

    def __init__(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; raises InputError without the package tensorboard."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                f"training needs tensorboard ({error}): pip install 'mvreg_ros[train]'") from error
        self.sums: dict[str, float] = dict(state.get('sums', {}))
        self.count: int = state.get('count', 0)
        self.losses = Table(folder / 'losses.csv', state.get('losses', 0))
        self.figures = Table(folder / 'validation.csv', state.get('figures', 0))
        step = state.get('step', 0)
        self.board = SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1)

    def state(self, step: int) -> dict[str, Any]:
        """Return what a journal needs that goes on after `step` steps."""
        return {'step': step, 'sums': self.sums, 'count': self.count,
                'losses': self.losses.size, 'figures': self.figures.size}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Take the losses of a step into the mean."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.count += 1

    def write_losses(self, step: int, seconds: float, rate: float) -> None:
        """Write the means of the losses, and begin new ones."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        self.losses.write({'step': step, 'seconds': round(seconds, 1), 'rate': rate, **means})
        for name, value in {**means, 'rate': rate}.items():
            self.board.add_scalar(f'training/{name}', value, step)

    def write_figures(self, step: int, seconds: float, figures: Mapping[str, float]) -> None:
        """Write the figures of a validation."""
        self.figures.write({'step': step, 'seconds': round(seconds, 1), **figures})
        for name, value in figures.items():
            self.board.add_scalar(f'validation/{name}', value, step)
        self.board.flush()

    def close(self) -> None:
        """Close the files."""
        self.losses.file.close()
        self.figures.file.close()
        self.board.close()
