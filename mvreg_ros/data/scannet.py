# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Scenes of ScanNet as its reader of .sens files writes them; single depth images are the fragments.

ROOT/SCENE/depth/K.png (16 bit, millimetres, 0 is no depth)
ROOT/SCENE/pose/K.txt (4 x 4, camera to world; not finite where tracking was lost)
ROOT/SCENE/intrinsic/intrinsic_depth.txt (4 x 4)
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path

from mvreg_ros.data.clouds import natural_key
from mvreg_ros.data.files import read_text
from mvreg_ros.data.scenes import GroundTruth, Scene, selected
from mvreg_ros.types import FloatArray, Fragment, InputError
import numpy as np

# As in the paper, which does not say which: here those from the first on.
VIEWS, FRAMES_APART = 30, 20
MILLIMETRES = 1000.0
DEPTH_LEVELS = 65535
PNG_BITS = 24  # where a PNG says how many bits a channel has


def scannet_scenes(root: Path, words: Sequence[str] = ()) -> list[Scene]:
    """
    Return the scenes below `root` whose names contain one of `words` (all without words).

    A scene has up to 30 views, 20 frames apart, of which every pair is scored; a view whose pose
    is lost is left out. Raises InputError where files are missing.
    """
    folders = selected(sorted(path.parent for path in root.glob('*/depth')), words)
    if not folders:
        raise InputError(f'{root}: no scenes there; ROOT must hold SCENE/depth/K.png, '
                         'SCENE/pose/K.txt and SCENE/intrinsic/intrinsic_depth.txt')
    return [_scene(folder) for folder in folders]


def read_depth_image(path: Path, index: int) -> Fragment:
    """
    Return the points of a depth image, (N, 3), in the frame of the camera, z forward.

    Its camera matrix lies beside its folder. Raises InputError for files that cannot be used.
    """
    from matplotlib.image import imread

    matrix = _matrix(path.parent.parent / 'intrinsic' / 'intrinsic_depth.txt')
    try:
        data = path.read_bytes()
        image = imread(BytesIO(data), format='png')
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: cannot be read as a PNG image: {error}') from error
    if image.ndim != 2:
        raise InputError(f'{path}: has {image.shape[2]} channels, a depth image has one')
    if data[PNG_BITS] != 16:
        raise InputError(f'{path}: has {data[PNG_BITS]} bits, a depth image has 16: write it in '
                         'millimetres as uint16')
    depth = np.round(image * DEPTH_LEVELS) / MILLIMETRES
    v, u = np.nonzero(depth)
    z = depth[v, u]
    points = np.column_stack([
        (u - matrix[0, 2]) / matrix[0, 0] * z, (v - matrix[1, 2]) / matrix[1, 1] * z, z])
    return Fragment(points.astype(np.float32), id=index, stamp_ns=index * 1_000_000_000,
                    name=f'{path.parent.parent.name}/{path.stem}')


def _scene(folder: Path) -> Scene:
    views, poses = [], []
    for image in _every_20th(folder / 'depth'):
        pose = _matrix(folder / 'pose' / f'{image.stem}.txt')
        if np.isfinite(pose).all():
            views.append(image)
            poses.append(pose)
        if len(views) == VIEWS:
            break
    if len(views) < 2:
        raise InputError(f'{folder}: has {len(views)} views with a pose, {FRAMES_APART} frames '
                         'apart; two or more are needed')
    T_world_view = np.stack(poses)
    T_view_world = np.linalg.inv(T_world_view)
    truth = {(i, j): T_view_world[i] @ T_world_view[j]
             for i, j in combinations(range(len(views)), 2)}
    return Scene(folder.name, len(views), {'scannet': GroundTruth(truth, {})},
                 T_world_fragment=T_world_view, clouds=views, read=read_depth_image)


def _every_20th(folder: Path) -> list[Path]:
    """Return the images whose numbers are multiples of 20, whatever lies between them."""
    images = [path for path in folder.glob('*.png') if path.stem.isdecimal()]
    return sorted((path for path in images if int(path.stem) % FRAMES_APART == 0),
                  key=natural_key)


def _matrix(path: Path) -> FloatArray:
    """Return the 4 x 4 matrix in a file."""
    try:
        matrix = np.array([line.split() for line in read_text(path).splitlines()], np.float64)
    except ValueError as error:
        raise InputError(f'{path}: expected 4 x 4 numbers') from error
    if matrix.shape != (4, 4):
        raise InputError(f'{path}: expected 4 x 4 numbers, got {matrix.shape}')
    return matrix
