# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg simulate`: scenes with ground truth out of nothing."""

from __future__ import annotations

from argparse import Namespace
from concurrent.futures import as_completed, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from pathlib import Path
import signal

from mvreg_ros.commands.console import ProgressReport, say
from mvreg_ros.data.files import new_folder
from mvreg_ros.evaluation.plots import require_matplotlib
from mvreg_ros.types import InputError, no_progress, Progress

LEAST = {'scenes': 1, 'seed': 0, 'rooms': 1, 'fragments': 1, 'jobs': 1}


def run(args: Namespace) -> None:
    """Simulate the scenes and write them; raises InputError."""
    for name, least in LEAST.items():
        if getattr(args, name) < least:
            raise InputError(f'--{name} must be {least} or more')
    require_open3d()
    require_matplotlib()
    scenes = [(seed, args.rooms, args.fragments, args.bag)
              for seed in range(args.seed, args.seed + args.scenes)]
    with new_folder(args.out) as folder:
        if args.jobs == 1:
            for scene in scenes:
                progress = ProgressReport(f'scene {scene[0]}: ')
                simulate_scene(folder, *scene, progress)
                progress.close()
        else:
            simulate_at_once(folder, scenes, args.jobs)
    usage = (f'mvreg register {args.out}/{scene_name(args.seed)} --out result' if args.bag
             else f'mvreg evaluate 3dmatch {args.out} --out evaluation')
    say(f'wrote {args.out}, with a picture of each scene; try: {usage}')


def scene_name(seed: int) -> str:
    """Return the name of the scene of a seed."""
    return f'simulated_{seed}'


def simulate_scene(
    folder: Path, seed: int, rooms: int, fragments: int, bag: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Write the scene of a seed, in the layout of 3DMatch or as a bag, and its picture."""
    from mvreg_ros.simulate.bag_files import write_bag
    from mvreg_ros.simulate.picture import draw
    from mvreg_ros.simulate.scene_files import write_scene
    from mvreg_ros.simulate.session import record_session
    from mvreg_ros.simulate.world import build_world

    world = build_world(seed, rooms, fragments)
    session = record_session(world, progress)
    name = scene_name(seed)
    if bag:
        write_bag(session, world.T_world_camera, folder / name, seed)
    else:
        write_scene(session, folder, name)
    draw(world, session, folder / f'{name}.png')


def simulate_at_once(
    folder: Path, scenes: list[tuple[int, int, int, bool]], jobs: int
) -> None:
    """Write scenes (seed, rooms, fragments, bag) by `jobs` processes, which end with this one."""
    progress = ProgressReport()
    # Fresh processes: threads of torch and Open3D do not live on in a fork. Of an interrupt this
    # process tells the user.
    with ProcessPoolExecutor(
        jobs, get_context('spawn'), signal.signal, (signal.SIGINT, signal.SIG_DFL)
    ) as pool:
        try:
            written = [pool.submit(simulate_scene, folder, *scene) for scene in scenes]
            for done, scene in enumerate(as_completed(written), 1):
                scene.result()
                progress('scenes', done, len(scenes))
        except BrokenProcessPool as error:
            raise InputError('a process died, for want of memory perhaps: lower --jobs') from error
        except BaseException:
            for worker in active_children():
                worker.terminate()
            raise
    progress.close()


def require_open3d() -> None:
    """Raise InputError where open3d is not installed, or lacks a library of the system."""
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError) as error:
        raise InputError(
            f"simulation needs open3d ({error}): pip install 'mvreg_ros[simulate]'; "
            'where it is installed, see mvreg doctor') from error
