# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop: killed and resumed, shared by processes, and what it writes."""

from __future__ import annotations

import csv
from dataclasses import replace
import math
import os
from pathlib import Path
import signal
import subprocess
import sys

from mvreg_ros.training.loop import CHECKPOINT, Training, WEIGHTS
from mvreg_ros.training.optimization import LoopConfig
from mvreg_ros.training.processes import Processes
from mvreg_ros.types import InputError
import numpy as np
import pytest
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_stage import tiny_config, tiny_training, TinyStage, TRUTH
import torch

TINY = Path(__file__).parent / 'tiny_stage.py'
STEPS = 20
ALONE = Processes(0, 1, torch.device('cpu'))


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, without what differs from run to run."""
    with path.open(newline='') as file:
        return [{name: value for name, value in row.items() if name != 'seconds'}
                for row in csv.DictReader(file)]


def run(*command: str | Path) -> int:
    """Run a program of Python in which the package and the tests can be imported."""
    path = os.pathsep.join((str(TINY.parents[1]), os.environ.get('PYTHONPATH', '')))
    return subprocess.run(
        [sys.executable, *command], env={**os.environ, 'PYTHONPATH': path},
        stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize('kill_at', [5, 11])
def test_killed_and_resumed_is_as_if_nothing_had_happened(tmp_path: Path, kill_at: int) -> None:
    """SIGKILL before the first checkpoint and after: weights and files are those of one run."""
    assert run(TINY, tmp_path / 'killed', str(STEPS), '1', str(kill_at)) == -signal.SIGKILL
    assert (tmp_path / 'killed' / CHECKPOINT).exists() == (kill_at > 7)
    assert int(rows(tmp_path / 'killed/losses.csv')[-1]['step']) == kill_at - 1
    resumed = tiny_training(tmp_path / 'killed', tiny_config(STEPS, 1))
    whole = tiny_training(tmp_path / 'whole', tiny_config(STEPS, 1, checkpoint_seconds=0.0))
    for name, tensor in whole.stage.state_dict().items():
        assert torch.equal(resumed.stage.state_dict()[name], tensor)
    for file_name in ('losses.csv', 'validation.csv'):
        assert rows(tmp_path / 'killed' / file_name) == rows(tmp_path / 'whole' / file_name)
    assert [row['step'] for row in rows(tmp_path / 'whole/losses.csv')] == [
        str(step) for step in range(2, STEPS + 1, 2)]
    assert [row['step'] for row in rows(tmp_path / 'whole/validation.csv')] == ['7', '14', '20']


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Two processes of torchrun with a batch each, and one with both: the same gradients."""
    assert run('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', TINY,
               tmp_path / 'two', '5', '2') == 0
    one = tiny_training(tmp_path / 'one', tiny_config(5, 2)).stage
    two = torch.load(tmp_path / 'two' / CHECKPOINT, weights_only=True)['stage']
    torch.testing.assert_close(two['layer.weight'], one.layer.weight.detach())
    # Four steps of warm-up and Adam: a batch that was left out would be seen.
    other = tiny_training(tmp_path / 'other', tiny_config(5, 1)).stage
    assert not torch.allclose(other.layer.weight, one.layer.weight, atol=1e-4)


def test_workers_draw_the_same_batches(tmp_path: Path) -> None:
    alone = tiny_training(tmp_path / 'alone', tiny_config(6, 2)).stage
    helped = tiny_training(tmp_path / 'helped', tiny_config(6, 2, workers=1)).stage
    assert torch.equal(alone.layer.weight, helped.layer.weight)


def test_the_best_weights_are_kept_with_their_provenance(tmp_path: Path) -> None:
    """A rate that explodes after the first validation: the file holds what was before."""
    config = tiny_config(
        14, 1, optimizer='sgd', schedule='exponential', decay=100.0, decay_steps=7)
    training = tiny_training(tmp_path, config)
    first, second = (float(row['accuracy']) for row in rows(tmp_path / 'validation.csv'))
    assert training.best == first > second
    with safe_open(tmp_path / WEIGHTS, framework='pt') as file:
        provenance, weight = file.metadata(), file.get_tensor('layer.weight')
    assert provenance['step'] == '7'
    assert provenance['source'] == 'tiny'
    assert float(provenance['accuracy']) == pytest.approx(first, rel=1e-3)
    assert -float((weight - TRUTH.T).norm()) == pytest.approx(first)


def test_tensorboard_has_what_the_csv_has(tmp_path: Path) -> None:
    tiny_training(tmp_path, tiny_config(8, 1))
    events = EventAccumulator(str(tmp_path / 'tensorboard')).Reload()
    for file_name, tag, name in (('losses.csv', 'training/loss', 'loss'),
                                 ('validation.csv', 'validation/accuracy', 'accuracy')):
        found = [(str(event.step), event.value) for event in events.Scalars(tag)]
        expected = [(row['step'], pytest.approx(float(row[name])))
                    for row in rows(tmp_path / file_name)]
        assert found == expected


def test_a_gradient_that_is_not_finite_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(TinyStage):
        def draw(self, step: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
            x, y = super().draw(step, generator)
            return x, y * np.nan

    stage = Broken()
    before = stage.layer.weight.detach().clone()
    Training(stage, tiny_config(2, 1), ALONE, tmp_path, {}).run()
    assert torch.equal(stage.layer.weight, before)
    assert 'not finite' in caplog.text


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    tiny_training(tmp_path, tiny_config(2, 1))
    with pytest.raises(InputError, match=r'loop\.steps was 2 and is 3'):
        tiny_training(tmp_path, tiny_config(3, 1))
    tiny_training(tmp_path, tiny_config(2, 1, checkpoint_seconds=5.0))
    with pytest.raises(InputError, match='3 batches a step cannot be shared by 2'):
        Training(TinyStage(), tiny_config(2, 3), replace(ALONE, count=2), tmp_path / 'new', {})


def test_other_weights_to_build_on_are_refused(tmp_path: Path) -> None:
    for digest in ('a', 'a', 'b'):
        stage = TinyStage()
        stage.weights_digest = digest
        if digest == 'b':
            with pytest.raises(InputError, match='begun with other weights than are in the file'):
                Training(stage, tiny_config(2, 1), ALONE, tmp_path, {})
        else:
            Training(stage, tiny_config(2, 1), ALONE, tmp_path, {}).run()


def test_hours_count_what_the_data_took(tmp_path: Path) -> None:
    """Two hours before the first step, and one more before the training went on."""
    Training(TinyStage(), tiny_config(2, 1), ALONE, tmp_path, {}, 7200.0).run()
    with safe_open(tmp_path / WEIGHTS, framework='pt') as file:
        assert file.metadata()['hours'] == '2'
    again = Training(TinyStage(), tiny_config(2, 1), ALONE, tmp_path, {}, 3600.0)
    assert again.seconds == pytest.approx(3 * 3600, abs=60)


def test_a_damaged_checkpoint_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b'PK nothing')
    with pytest.raises(InputError, match=r'checkpoint.pt: cannot be read, remove it'):
        tiny_training(tmp_path, tiny_config(2, 1))


def test_schedules_by_hand() -> None:
    cosine = LoopConfig(steps=10, rate=1.0, warmup=2)
    assert [cosine.rate_at(step) for step in (0, 1, 2, 6)] == pytest.approx([0.5, 1, 1, 0.5])
    assert cosine.rate_at(9) == pytest.approx((1 + math.cos(math.pi * 7 / 8)) / 2)
    steps = LoopConfig(steps=10, rate=1.0, schedule='exponential', decay=0.5, decay_steps=4)
    assert [steps.rate_at(step) for step in (0, 3, 4, 8)] == [1, 1, 0.5, 0.25]
    for wrong in ({'steps': 0}, {'clip': -1.0}, {'optimizer': 'rmsprop'}, {'rate': math.nan}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LoopConfig(**{'steps': 1, 'rate': 1.0, **wrong})
