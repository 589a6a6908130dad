# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Is the confidence of an edge honest? Of edges with 0.9, nine in ten should be right.

    mvreg benchmark confidence ROOT ... [--test ROOT ...] [--mixed] [--out confidence.md]
        [parameters of mvreg evaluate]

ROOTs are laid out as `mvreg evaluate 3dmatch` wants them; those that `mvreg simulate` makes serve
for validation. Right is a pose within 15 degrees and 0.5 m. Held against the truth are c_local,
what a pair says of itself, and what the graph says of it (Eq. 15). Both are also fitted on the
first ROOTs by a logistic curve (Platt scaling), which the test ROOTs, never fitted to, then show
the worth of. --mixed: every second fragment of two scenes in one session, which no edge should
join. The last column holds the covariances of poses against their errors: the median of their
squared Mahalanobis distance, which is 5.3 where the covariances are exact.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.columns import markdown
from benchmarks.footer import publish
import gtsam
from mvreg_ros.commands.console import ProgressReport
from mvreg_ros.commands.options import add_parameters, parameter_values
from mvreg_ros.data.scenes import cloud_scenes, Scene
from mvreg_ros.evaluation.calibration import BINS, edge_outcomes, Outcomes, reliability
from mvreg_ros.evaluation.protocol import SceneResult, summarize_maps
from mvreg_ros.evaluation.run import RecordingRegistration, register_scene
from mvreg_ros.evaluation.tables import number
from mvreg_ros.methods.method import Stopwatch
from mvreg_ros.multiview.pose_graph import Synchronization
from mvreg_ros.multiview.se3 import ROTATION_FIRST
from mvreg_ros.pairs.ranking import Pair
from mvreg_ros.types import FloatArray, FragmentFeatures, InputError, no_progress, Progress
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

SURE = 0.9
APART = 1000.0  # metres between two flats of one session
CLIP = 1e-6


class GraphRegistration(RecordingRegistration):
    """The pipeline, with the pose graph of its last run kept."""

    graph: Synchronization

    def solve(
        self, features: Sequence[FragmentFeatures], neighbors: Collection[Pair],
        watch: Stopwatch, progress: Progress = no_progress,
    ) -> Synchronization:
        """Return the pose graph, and keep it."""
        self.graph = super().solve(features, neighbors, watch, progress)
        return self.graph


@dataclass(frozen=True)
class Evidence:
    """Registered scenes, as the graph sees their edges and as the pairs alone do."""

    joint: list[SceneResult]
    local: list[SceneResult]


def register(scenes: Sequence[Scene], pipeline: GraphRegistration) -> Evidence:
    """Register the scenes."""
    joint, local = [], []
    for scene in scenes:
        progress = ProgressReport(f'{scene.name}: ')
        result = register_scene(scene, pipeline, progress)
        progress.close()
        edges = result.registration.edges
        pairs = zip(edges.i.tolist(), edges.j.tolist(), strict=True)
        alone = replace(
            edges, confidence=pipeline.graph.pairwise.confidence,
            T_i_j=np.stack([result.pairwise.get(pair, np.eye(4)) for pair in pairs]))
        joint.append(result)
        local.append(replace(result, registration=replace(result.registration, edges=alone)))
    return Evidence(joint, local)


def mixed(a: Scene, b: Scene) -> Scene:
    """Return a session of every second fragment of two scenes, far apart."""
    if a.T_world_fragment is None or b.T_world_fragment is None:
        raise InputError(f'{a.name} or {b.name} has no cloud_bin_K.info.txt, without which there '
                         'is no truth of a mixed session')
    there = b.T_world_fragment[::2].copy()
    there[:, 0, 3] += APART
    poses = np.concatenate([a.T_world_fragment[::2], there])
    nothing = {name: replace(truth, T_i_j={}, information={}) for name, truth in a.truth.items()}
    return Scene(f'{a.name} and {b.name}', len(poses), nothing, T_world_fragment=poses,
                 clouds=a.clouds[::2] + b.clouds[::2])


def log_odds(outcomes: Outcomes) -> FloatArray:
    """Return logit(c), (E,), finite for c of 0 and 1 too."""
    return logit(np.clip(outcomes.confidence, CLIP, 1 - CLIP))


def platt(outcomes: Outcomes) -> tuple[float, float]:
    """Return a and b for which sigmoid(a logit(c) + b) is the likeliest of what came out."""
    x = log_odds(outcomes)
    sign = np.where(outcomes.right, 1, -1)

    def cost(parameters: FloatArray) -> float:
        return float(np.logaddexp(0, -sign * (parameters[0] * x + parameters[1])).mean())

    a, b = minimize(cost, np.array([1.0, 0.0])).x
    return float(a), float(b)


def fitted(outcomes: Outcomes, a: float, b: float) -> Outcomes:
    """Return the outcomes with confidences on the fitted curve."""
    return replace(outcomes, confidence=expit(a * log_odds(outcomes) + b))


def cells(outcomes: Outcomes) -> list[str]:
    """Return the calibration error, and how many edges are sure and how many of them right."""
    sure = outcomes.confidence >= SURE
    right = float(outcomes.right[sure].mean()) if sure.any() else np.nan
    return [number(reliability(outcomes).expected_calibration_error), str(sure.sum()),
            number(right)]


def mahalanobis(results: Sequence[SceneResult]) -> float:
    """
    Return the median e^T C^-1 e of the poses of components 0 but their first, against the truth.

    NaN where nothing was refined, and so has no covariance.
    """
    distances = []
    for result in results:
        registration, world = result.registration, result.scene.T_world_fragment
        if world is None or not np.isfinite(registration.covariances).any():
            continue
        first, *others = registration.members(0)
        truth = registration.poses[first] @ np.linalg.inv(world[first]) @ world
        for k in others:
            error = gtsam.Pose3(truth[k]).localCoordinates(gtsam.Pose3(registration.poses[k]))
            error = error[ROTATION_FIRST]
            distances.append(float(error @ np.linalg.solve(registration.covariances[k], error)))
    return float(np.median(distances)) if distances else np.nan


def report(validation: Evidence, sets: dict[str, Evidence]) -> str:
    """Return the tables, and the curves fitted to the edges of the validation scenes."""
    rows, columns, curves = {}, {}, []
    for kind in ('c_local', 'Eq. 15'):
        a, b = platt(outcomes_of(validation, kind))
        curves.append(f'{kind} fitted: sigmoid({a:.3f} logit(c) {b:+.3f})')
        for name, evidence in sets.items():
            outcomes = outcomes_of(evidence, kind)
            within = summarize_maps(evidence.joint)['mean']['within_component']
            rows[f'{name}, {kind}'] = [
                str(len(outcomes.right)), *cells(outcomes), *cells(fitted(outcomes, a, b)),
                number(within), number(mahalanobis(evidence.joint), 1)]
            found = reliability(outcomes)
            columns[f'{name}, {kind}'] = [
                f'{number(right, 2)} of {count}'
                for right, count in zip(found.right, found.edges.tolist(), strict=True)]
    sure = f'c >= {SURE}'
    bins = [f'{k / BINS:.1f} to {(k + 1) / BINS:.1f}' for k in range(BINS)]
    return '\n'.join([
        markdown(('edges of', 'edges', 'calibration error', sure, 'right', 'fitted: error', sure,
                  'right', 'within component', 'Mahalanobis'), rows),
        markdown(('c, and how many right', *columns),
                 dict(zip(bins, zip(*columns.values(), strict=True), strict=True))),
        *curves])


def outcomes_of(evidence: Evidence, kind: str) -> Outcomes:
    """Return the edges with a kind of confidence; raises InputError where truth is not known."""
    results = evidence.local if kind == 'c_local' else evidence.joint
    outcomes = edge_outcomes(results).get('all_pairs')
    if outcomes is None:
        raise InputError('the scenes have no cloud_bin_K.info.txt to hold edges against')
    return outcomes


def main() -> None:
    """Register all scenes and print the tables."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('roots', nargs='+', type=Path)
    parser.add_argument('--test', nargs='+', type=Path, default=())
    parser.add_argument('--scenes', nargs='+', default=(), help='of the test ROOTs')
    parser.add_argument('--mixed', action='store_true')
    parser.add_argument('--out', type=Path, default=Path('confidence.md'))
    add_parameters(parser)
    args = parser.parse_args()
    pipeline = GraphRegistration.from_pretrained(**parameter_values(args))
    scenes = [scene for root in args.roots for scene in cloud_scenes(root, '3dmatch')]
    test = [scene for root in args.test for scene in cloud_scenes(root, '3dmatch', args.scenes)]
    sets = {'validation': register(scenes, pipeline)}
    if args.mixed:
        sets['two in one session'] = register(
            [mixed(a, b) for a, b in zip(scenes[::2], scenes[1::2], strict=False)], pipeline)
    if test:
        sets['test'] = register(test, pipeline)
    text = report(sets['validation'], sets)
    publish(text, args.out)


if __name__ == '__main__':
    main()
