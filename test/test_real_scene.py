# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A whole scene of real fragments through the node: the poses are the offline command's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import warnings

from geometry_msgs.msg import PoseArray
from mvreg_ros.cli import main
from mvreg_ros.data.clouds import input_files, read_fragment
from mvreg_ros.node.interface import LATCHED
from mvreg_ros.types import Fragment
from node_session import session
import numpy as np
from real_data import find_real_data
from scipy.spatial.transform import Rotation

# Coarser than the default: this is about the way the data takes, which is the same.
VOXEL_SIZE = '0.05'
SCENE = '3dmatch/fragments/sun3d-hotel_umd-maryland_hotel3'


def scene_folder(tmp_path: Path) -> Path:
    """Return a folder of fragments: the real scene, or where there is none a simulated one."""
    data = find_real_data()
    if data is not None:
        return data / SCENE
    warnings.warn('no real data here (set MVREG_DATA): a simulated scene takes its place')
    assert main(['simulate', '--out', str(tmp_path / 'scenes'), '--scenes', '1']) == 0
    return next((tmp_path / 'scenes' / 'fragments').iterdir())


def test_all_fragments_of_a_scene_over_dds_give_the_poses_of_the_command(tmp_path: Path) -> None:
    """~/poses is what `mvreg register` wrote to poses.tum, to its nine digits."""
    folder = scene_folder(tmp_path)
    out = tmp_path / 'out'
    assert main(['register', str(folder), '--out', str(out), '--voxel-size', VOXEL_SIZE]) == 0
    offline = np.loadtxt(out / 'poses.tum')
    fragments = [as_sent(read_fragment(path, k)) for k, path in enumerate(input_files([folder]))]
    with session('-p', f'voxel_size:={VOXEL_SIZE}') as node:
        node.publish(fragments)
        answer = node.call('~/register')
        assert answer.success, answer.message
        poses = node.receive(PoseArray, '~/poses', LATCHED).poses
    online = np.array([
        [p.position.x, p.position.y, p.position.z,
         p.orientation.x, p.orientation.y, p.orientation.z, p.orientation.w]
        for p in poses
    ])
    assert len(online) == len(offline) > len(fragments) / 2
    np.testing.assert_allclose(online[:, :3], offline[:, 1:4], atol=1e-8)
    turn = Rotation.from_quat(online[:, 3:]) * Rotation.from_quat(offline[:, 4:]).inv()
    assert turn.magnitude().max() < 1e-7


def as_sent(fragment: Fragment) -> Fragment:
    """Return a fragment as a driver would send it: with a frame and a stamp."""
    return replace(fragment, frame_id='camera', stamp_ns=10**9 * (fragment.id + 1))
