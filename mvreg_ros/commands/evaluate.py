# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg evaluate`: known scenes in, the figures of the paper's tables out."""

from __future__ import annotations

from argparse import Namespace

from mvreg_ros.cluster import spread
from mvreg_ros.commands.console import ProgressReport, say
from mvreg_ros.commands.options import parameter_values
from mvreg_ros.data.files import new_folder
from mvreg_ros.data.scannet import scannet_scenes
from mvreg_ros.data.scenes import cloud_scenes, pose_graph_scenes
from mvreg_ros.evaluation.calibration import calibration
from mvreg_ros.evaluation.files import benchmarks_of, metrics_json, write_evaluation
from mvreg_ros.evaluation.plots import require_matplotlib
from mvreg_ros.evaluation.protocol import SceneResult, summarize, summarize_maps
from mvreg_ros.evaluation.run import RecordingRegistration, register_scene, synchronize_scene
from mvreg_ros.evaluation.tables import calibration_table, ecdf_table, map_table, table
from mvreg_ros.types import InputError


def run(args: Namespace) -> None:
    """Evaluate the scenes and write the figures; raises InputError."""
    if args.ray and args.benchmark == 'sync':
        raise InputError('--ray is for clouds, and sync registers none: leave it out')
    require_matplotlib()
    parameters = parameter_values(args)
    with new_folder(args.out) as folder:
        results = synchronize(args) if args.benchmark == 'sync' else register(args)
        recorded = next(iter(results[0].scene.truth))
        asked = recorded if args.benchmark == 'sync' else args.benchmark
        summaries = {name: summarize(results, name) for name in benchmarks_of(results, asked)}
        maps, honesty = summarize_maps(results), calibration(results)
        tables = [table(summary, name) for name, summary in summaries.items()]
        tables += [ecdf_table(summaries[asked], asked), map_table(maps)]
        tables += [calibration_table(honesty)] if honesty['pooled'] else []
        metrics = metrics_json(summaries, maps, honesty, parameters)
        write_evaluation(folder, results, metrics, tables, parameters)
    for text in tables:
        say(f'{text}\n')
    say(f'wrote {args.out}')


def register(args: Namespace) -> list[SceneResult]:
    """Register the clouds of the scenes."""
    scenes = (scannet_scenes(args.root, args.scenes) if args.benchmark == 'scannet'
              else cloud_scenes(args.root, args.benchmark, args.scenes))
    registration = RecordingRegistration.from_pretrained(**parameter_values(args))
    results = []
    with spread(registration, args.ray):
        for scene in scenes:
            progress = ProgressReport(f'{scene.name}: ')
            results.append(register_scene(scene, registration, progress))
            progress.close()
    return results


def synchronize(args: Namespace) -> list[SceneResult]:
    """Synchronise the recorded pairwise estimates of the scenes."""
    scenes = pose_graph_scenes(args.root, args.scenes)
    progress = ProgressReport()
    results = []
    for scene in scenes:
        results.append(synchronize_scene(scene, args.min_confidence))
        progress('synchronization', len(results), len(scenes))
    progress.close()
    return results
