# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Scenes to train on: fragments with known poses, as `mvreg simulate` writes them.

ROOT/fragments/SCENE/cloud_bin_K.ply with cloud_bin_K.info.txt, a line of text and then the 4 x 4
pose T_world_fragment: the layout of 3DMatch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from itertools import combinations
from pathlib import Path

from mvreg_ros.data.clouds import natural_key, read_fragment
from mvreg_ros.data.logs import Pair, read_pose
from mvreg_ros.training.config import DataConfig
from mvreg_ros.types import FloatArray, Fragment, InputError
import numpy as np
from numpy.typing import NDArray

# The official test set of 3DMatch, which every published figure is measured on.
TEST_SCENES = frozenset((
    '7-scenes-redkitchen',
    'sun3d-home_at-home_at_scan1_2013_jan_1',
    'sun3d-home_md-home_md_scan9_2012_sep_30',
    'sun3d-hotel_uc-scan3',
    'sun3d-hotel_umd-maryland_hotel1',
    'sun3d-hotel_umd-maryland_hotel3',
    'sun3d-mit_76_studyroom-76-1studyroom2',
    'sun3d-mit_lab_hj-lab_hj_tea_nov_2_2012_scan1_erika',
))


@dataclass(frozen=True)
class TrainingScene:
    """A scene: file `clouds[k]` holds fragment k, whose T_world_fragment (4, 4) is poses[k]."""

    name: str
    clouds: tuple[Path, ...]
    poses: FloatArray

    def __len__(self) -> int:
        """Return the number of fragments."""
        return len(self.clouds)

    def fragment(self, k: int) -> Fragment:
        """Read fragment k; raises InputError as `read_fragment`."""
        return read_fragment(self.clouds[k], k)

    def relative(self, i: int, j: int) -> FloatArray:
        """Return T_i_j (4, 4)."""
        return np.linalg.inv(self.poses[i]) @ self.poses[j]


def training_scenes(data: DataConfig) -> tuple[list[TrainingScene], list[TrainingScene]]:
    """
    Return the scenes to train on, and those of validation.

    Raises InputError as `read_scenes`, and where one has the name or the files of another.
    """
    train, validation = read_scenes(data.train), read_scenes(data.validation)
    seen: dict[str | Path, Path] = {}
    for scene in [*train, *validation]:
        folder = scene.clouds[0].parent
        for key in (scene.name, folder.resolve()):
            if key in seen:
                raise InputError(
                    f'{folder}: has the name or the files of {seen[key]}, in data.train or '
                    'data.validation: leave out one, or rename it where it is another scene')
            seen[key] = folder
    return train, validation


def read_scenes(roots: Sequence[str]) -> list[TrainingScene]:
    """
    Return the scenes below some folders, or all folders that match a pattern such as rooms/s*.

    Raises InputError where there are none, a file is missing or broken, or a scene is of the test
    set of 3DMatch.
    """
    if not roots:
        raise InputError('data.train and data.validation: an empty list has no scenes: name what '
                         'mvreg simulate has written')
    return [read_scene(folder) for root in roots for folder in scene_folders(root)]


def counted(scenes: Sequence[TrainingScene]) -> dict[str, str]:
    """Return the numbers of scenes and fragments, for the provenance of weights."""
    return {'scenes': str(len(scenes)), 'fragments': str(sum(map(len, scenes)))}


def scene_folders(root: str) -> list[Path]:
    """Return the folders of the scenes below a folder or a pattern, in natural order."""
    folders = [folder for path in glob(root) for folder in Path(path).glob('fragments/*/')]
    if not folders:
        raise InputError(f'{root}: holds no fragments/SCENE: name what mvreg simulate has written')
    return sorted(folders, key=lambda folder: natural_key(folder))


def read_scene(folder: Path) -> TrainingScene:
    """Return the scene in a folder; raises InputError as `read_scenes`."""
    if folder.name in TEST_SCENES:
        raise InputError(f'{folder}: is of the test set of 3DMatch: evaluate on it, never train')
    clouds = sorted(folder.glob('cloud_bin_*.ply'), key=natural_key)
    if len(clouds) < 2:
        raise InputError(f'{folder}: holds {len(clouds)} fragments, two are needed: remove it')
    return TrainingScene(
        folder.name, tuple(clouds),
        np.stack([read_pose(path.with_suffix('.info.txt')) for path in clouds]))


def overlaps(scene: TrainingScene, cell: float) -> dict[Pair, float]:
    """
    Return for all pairs i < j the share of the smaller fragment's cells that the other has too.

    cell: metres, the edge of the cells of the world; coarse, to choose pairs by.
    """
    cells = [occupied(scene.fragment(k).points, T, cell) for k, T in enumerate(scene.poses)]
    return {(i, j): len(np.intersect1d(cells[i], cells[j], assume_unique=True))
            / min(len(cells[i]), len(cells[j]))
            for i, j in combinations(range(len(scene)), 2)}


def occupied(points: NDArray, T: FloatArray, cell: float) -> NDArray[np.int64]:
    """Return a number for each cell of the world that points (N, 3) lie in, sorted."""
    world = points @ T[:3, :3].T + T[:3, 3]
    x, y, z = np.floor(world / cell).astype(np.int64).T
    return np.unique((x * 73856093) ^ (y * 19349669) ^ (z * 83492791))
