# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg simulate`: scenes with ground truth out of nothing."""

from __future__ import annotations

from argparse import Namespace

from mvreg_ros.commands.console import ProgressReport, say
from mvreg_ros.data.files import new_folder
from mvreg_ros.types import InputError


def run(args: Namespace) -> None:
    """Simulate the scenes and write them; raises InputError."""
    if args.scenes < 1 or args.seed < 0:
        raise InputError('--scenes must be 1 or more, --seed 0 or more')
    require_open3d()
    from mvreg_ros.simulate.scene_files import write_scene
    from mvreg_ros.simulate.session import simulate_session

    with new_folder(args.out) as folder:
        for seed in range(args.seed, args.seed + args.scenes):
            progress = ProgressReport(f'scene {seed}: ')
            write_scene(simulate_session(seed, progress=progress), folder, f'simulated_{seed}')
            progress.close()
    say(f'wrote {args.out}, try: mvreg evaluate 3dmatch {args.out} --out evaluation')


def require_open3d() -> None:
    """Raise InputError where open3d is not installed, or lacks a library of the system."""
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError) as error:
        raise InputError(
            f"simulation needs open3d ({error}): pip install 'mvreg_ros[simulate]'; "
            'where it is installed, see mvreg doctor') from error
