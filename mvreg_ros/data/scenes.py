# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Where benchmarks keep their scenes, and what their scenes are scored against.

Scenes with clouds (3DMatch, 3DLoMatch, Redwood, simulated ones):
ROOT/fragments/SCENE/cloud_bin_K.ply, and cloud_bin_K.info.txt with T_world_fragment where known
ROOT/benchmarks/{3DMatch,3DLoMatch,Redwood}/SCENE/{gt.log,gt.info,gt_overlap.log}

Recorded pairwise estimates, without clouds:
ROOT/pose_graphs/SCENE/METHOD.log with the benchmarks as above
ROOT/SCENE-evaluation/{METHOD.log,gt.log,gt.info} (Redwood)
ROOT/SCENE.npz (ScanNet, as in Learning2Sync)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from mvreg_ros.data.clouds import natural_key, read_fragment
from mvreg_ros.data.logs import Pair, read_info, read_log, read_overlap, read_pose
from mvreg_ros.types import FloatArray, Fragment, InputError
import numpy as np

BENCHMARKS = {'3dmatch': '3DMatch', '3dlomatch': '3DLoMatch', 'redwood': 'Redwood'}


@dataclass(frozen=True)
class GroundTruth:
    """
    The pairs a scene is scored on.

    T_i_j: (4, 4) by pair. information: (6, 6) by pair, translation first; empty where the
    benchmark has none, and with it no recall.
    """

    T_i_j: dict[Pair, FloatArray]
    information: dict[Pair, FloatArray]


@dataclass(frozen=True)
class Scene:
    """
    A scene of a benchmark, with `count` fragments.

    truth: by benchmark ('3dmatch', ...). overlap: share of common points by pair, where known.
    T_world_fragment: (count, 4, 4), where known. clouds: file K holds fragment K, and read
    makes it of the file. estimates: recorded T_i_j by pair, i < j, in scenes without clouds.
    """

    name: str
    count: int
    truth: dict[str, GroundTruth]
    overlap: dict[Pair, float] = field(default_factory=dict)
    T_world_fragment: FloatArray | None = None
    clouds: list[Path] = field(default_factory=list)
    read: Callable[[Path, int], Fragment] = read_fragment
    estimates: dict[Pair, FloatArray] = field(default_factory=dict)


def cloud_scenes(root: Path, benchmark: str, words: Sequence[str] = ()) -> list[Scene]:
    """
    Return the scenes of a benchmark whose names contain one of `words` (all without words).

    Each has the truth of every benchmark that names it. Raises InputError where files are missing.
    """
    listed = root / 'benchmarks' / BENCHMARKS[benchmark]
    folders = selected(_folders(listed), words)
    if not folders:
        raise InputError(f'{listed}: no scenes there; ROOT must hold benchmarks/ and fragments/')
    return [_cloud_scene(root, folder.name) for folder in folders]


def pose_graph_scenes(root: Path, words: Sequence[str] = ()) -> list[Scene]:
    """
    Return the recorded pose graphs below `root` whose names contain one of `words`.

    Raises InputError where there are none or files are missing.
    """
    evaluations = [folder for folder in _folders(root) if folder.name.endswith('-evaluation')]
    files = [*sorted(root.glob('pose_graphs/*/*.log')), *sorted(root.glob('*.npz'))]
    files += [log for folder in evaluations for log in sorted(folder.glob('*.log'))
              if log.name != 'gt.log']
    files = selected(files, words)
    if not files:
        raise InputError(f'{root}: no pose graphs there; ROOT must hold pose_graphs/SCENE/*.log, '
                         'SCENE-evaluation/*.log or *.npz')
    return [_npz_scene(f) if f.suffix == '.npz' else _log_scene(root, f) for f in files]


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []


def selected(paths: list[Path], words: Sequence[str]) -> list[Path]:
    """Return the paths whose names contain one of `words`; raises InputError for one in none."""
    names = [f'{path.parent.name}/{path.name}' for path in paths]
    for word in words:
        if not any(word in name for name in names):
            raise InputError(f"no scene is called {word!r}, there are: {', '.join(names)}")
    return [path for path, name in zip(paths, names, strict=True)
            if not words or any(word in name for word in words)]


def _read_truth(folder: Path) -> tuple[int, GroundTruth]:
    poses, information = read_log(folder / 'gt.log'), read_info(folder / 'gt.info')
    for i, j in poses.matrices:
        if (i, j) not in information.matrices:
            raise InputError(f'{folder}/gt.info: lacks pair {i} {j} of gt.log')
        if i > j:
            raise InputError(f'{folder}/gt.log: write pair {i} {j} as {j} {i}, inverted')
    return poses.count, GroundTruth(poses.matrices, information.matrices)


def _benchmarked(root: Path, name: str) -> Scene:
    """Return scene `name` with the truth of every benchmark below `root` that has it."""
    truth = {}
    count = 0
    overlap: dict[Pair, float] = {}
    for key, benchmark in BENCHMARKS.items():
        folder = root / 'benchmarks' / benchmark / name
        if folder.is_dir():
            # A scene without pairs of low overlap has an empty list, which knows no count.
            listed, truth[key] = _read_truth(folder)
            count = max(count, listed)
        if (folder / 'gt_overlap.log').is_file():
            overlap = read_overlap(folder / 'gt_overlap.log')
    return Scene(name, count, truth, overlap, _read_poses(root / 'fragments' / name, count))


def _read_poses(folder: Path, count: int) -> FloatArray | None:
    """Return T_world_fragment (count, 4, 4), or None where no fragment has a pose."""
    files = [folder / f'cloud_bin_{k}.info.txt' for k in range(count)]
    if not any(file.exists() for file in files):
        return None
    return np.stack([read_pose(file) for file in files])


def _cloud_scene(root: Path, name: str) -> Scene:
    scene = _benchmarked(root, name)
    folder = root / 'fragments' / name
    clouds = sorted(folder.glob('cloud_bin_*.ply'), key=natural_key)
    expected = [f'cloud_bin_{k}.ply' for k in range(scene.count)]
    missing = sorted(set(expected) - {path.name for path in clouds})
    if missing or len(clouds) != scene.count:
        raise InputError(f'{folder}: {len(clouds)} fragments but gt.log speaks of {scene.count}'
                         f"{', no ' + missing[0] if missing else ''}; add them or choose --scenes")
    return replace(scene, clouds=clouds)


def _log_scene(root: Path, log: Path) -> Scene:
    scene = log.parent.name.removesuffix('-evaluation')
    if log.parent.name.endswith('-evaluation'):
        count, truth = _read_truth(log.parent)
        recorded = Scene(scene, count, {'redwood': truth})
    else:
        recorded = _benchmarked(root, scene)
        if not recorded.truth:
            raise InputError(f'{root}/benchmarks: holds no truth for {log}')
    estimates = read_log(log)
    if estimates.count != recorded.count:
        raise InputError(
            f'{log}: speaks of {estimates.count} fragments, gt.log of {recorded.count}')
    return replace(recorded, name=f'{scene}.{log.stem}',
                   estimates=_ordered(log, estimates.count, estimates.matrices.items()))


def _npz_scene(path: Path) -> Scene:
    """
    Return a scene of ScanNet: T_j_i (E, 3, 4) maps view i into j, T_scan_world (S, 4, 4).

    Every pair of views is scored, as in the protocol of Learning2Sync.
    """
    try:
        with np.load(path) as file:
            i, j, T_j_i = file['i'].tolist(), file['j'].tolist(), file['T_j_i'].astype(float)
            T_scan_world = file['T_scan_world']
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f'{path}: no pose graph with i, j, T_j_i and T_scan_world') from error
    bottom = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (len(T_j_i), 1, 4))
    T_i_j = np.linalg.inv(np.concatenate([T_j_i, bottom], axis=1))
    T_world_scan = np.linalg.inv(T_scan_world)
    views = combinations(range(len(T_scan_world)), 2)
    truth = GroundTruth({(a, b): T_scan_world[a] @ T_world_scan[b] for a, b in views}, {})
    pairs = zip(i, j, strict=True)
    return Scene(path.stem, len(T_scan_world), {'scannet': truth}, T_world_fragment=T_world_scan,
                 estimates=_ordered(path, len(T_scan_world), zip(pairs, T_i_j, strict=True)))


def _ordered(
    path: Path, count: int, estimates: Iterable[tuple[Pair, FloatArray]],
) -> dict[Pair, FloatArray]:
    """Return T_i_j by pair with i < j; raise InputError for a pair that is none or is double."""
    result: dict[Pair, FloatArray] = {}
    for (i, j), T in estimates:
        pair = min(i, j), max(i, j)
        if not 0 <= pair[0] < pair[1] < count:
            raise InputError(f'{path}: {i} {j} is no pair of {count} fragments, remove it')
        if pair in result:
            raise InputError(f'{path}: holds pair {i} {j} twice, remove one of them')
        result[pair] = T if i < j else np.asarray(np.linalg.inv(T), np.float64)
    return result
