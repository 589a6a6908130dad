# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg train`: one stage of the training, from a file of settings to a file of weights."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from importlib import import_module
import json
from pathlib import Path
import time
from typing import Any

from mvreg_ros import __version__
from mvreg_ros.commands.console import ProgressReport, say
from mvreg_ros.provenance import git_commit
from mvreg_ros.training.config import as_config, read_yaml
from mvreg_ros.training.loop import Training, WEIGHTS
from mvreg_ros.training.processes import joined_processes
from mvreg_ros.training.stage import Stage
from mvreg_ros.types import InputError, no_progress
import torch

# The classes that train each stage, by a setting of that stage.
STAGES = {
    'features': ('descriptor', {
        'cylinder': 'descriptor.DescriptorStage',
        'context': 'context.ContextStage',
        'fcgf': 'fcgf.FcgfStage',
    }),
    'registration': ('method', {
        'consistency': 'evidence.EvidenceStage',
        'lmpcr': 'registration.RegistrationStage',
    }),
    'multiview': ('method', {
        'lmpcr': 'joint.JointStage',
    }),
}


def run(args: Namespace) -> None:
    """Train a stage, or go on where it stopped; raises InputError."""
    values = read_yaml(args.config)
    kind = stage_class(args.stage, values)
    config = as_config(kind.Config, values, f'{args.config}: ')
    folder = args.out or Path('runs') / args.config.stem
    with joined_processes(config.loop.device) as processes:
        begin = time.monotonic()
        torch.manual_seed(config.loop.seed)
        stage = kind.build(config, folder)
        provenance = {
            'source': f'mvreg train {args.stage}', 'training': json.dumps(asdict(config)),
            'package': __version__, 'commit': git_commit(Path(__file__).parent),
            **stage.provenance()}
        training = Training(
            stage, config, processes, folder, provenance, time.monotonic() - begin)
        if training.step and processes.first:
            say(f'going on after step {training.step}')
        progress = ProgressReport() if processes.first else no_progress
        try:
            training.run(progress)
        except KeyboardInterrupt as interrupt:
            interrupt.args = (f'the same command goes on from {folder}',)
            raise
        if isinstance(progress, ProgressReport):
            progress.close()
            say(f'wrote {folder / WEIGHTS}, {kind.figure} {training.best:.4g}')


def stage_class(stage: str, values: dict[str, Any]) -> type[Stage]:
    """
    Return what trains a stage; the setting that says so is taken out of the values.

    Raises InputError for one that does not exist.
    """
    setting, classes = STAGES[stage]
    name = values.pop(setting, None)
    if name not in classes:
        raise InputError(f"{setting}: must be one of {', '.join(classes)}: got {name!r}")
    module, class_name = classes[name].split('.')
    kind: type[Stage] = getattr(import_module(f'mvreg_ros.training.{module}'), class_name)
    return kind
