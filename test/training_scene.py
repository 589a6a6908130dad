# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The hilly field of `small_scene` as a scene to train on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mvreg_ros.data.ply import encode_ply
import numpy as np
import small_scene


@cache
def fragments(seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the clouds and T_field_fragment of `small_scene`, made once."""
    return small_scene.fragments(seed)


def write_training_scene(root: Path, name: str, seed: int = 0) -> None:
    """Write the clouds with their poses below `root`."""
    folder = root / 'fragments' / name
    folder.mkdir(parents=True)
    for k, (cloud, pose) in enumerate(zip(*fragments(seed), strict=True)):
        (folder / f'cloud_bin_{k}.ply').write_bytes(encode_ply(cloud))
        rows = '\n'.join(' '.join(f'{value:.12e}' for value in row) for row in pose)
        (folder / f'cloud_bin_{k}.info.txt').write_text(f'{name} seq-01 0 49\n{rows}\n')
