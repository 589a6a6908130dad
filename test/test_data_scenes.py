# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The layouts of benchmarks: scenes are found, chosen by name, and missing files are named."""

from __future__ import annotations

from pathlib import Path

from mvreg_ros.data.logs import write_info, write_log
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.data.scenes import cloud_scenes, pose_graph_scenes
from mvreg_ros.types import InputError
import numpy as np
import pytest

PAIRS = {(0, 1): np.eye(4), (0, 2): np.eye(4)}
INFORMATION = dict.fromkeys(PAIRS, np.eye(6))


def write_truth(folder: Path, count: int = 3) -> None:
    """Write gt.log and gt.info of PAIRS."""
    folder.mkdir(parents=True)
    write_log(folder / 'gt.log', count, PAIRS)
    write_info(folder / 'gt.info', count, INFORMATION)


def write_scene(root: Path, name: str) -> None:
    """Write a scene of three fragments in the layout of 3DMatch, with recorded estimates."""
    (root / 'fragments' / name).mkdir(parents=True)
    for k in range(3):
        cloud = encode_ply(np.full((4, 3), k))
        (root / 'fragments' / name / f'cloud_bin_{k}.ply').write_bytes(cloud)
    write_truth(root / 'benchmarks' / '3DMatch' / name)
    write_truth(root / 'benchmarks' / '3DLoMatch' / name)
    (root / 'benchmarks' / '3DMatch' / name / 'gt_overlap.log').write_text('0,1,0.5\n')
    (root / 'pose_graphs' / name).mkdir(parents=True)
    write_log(root / 'pose_graphs' / name / 'fpfh.log', 3, PAIRS)


def test_cloud_scenes_have_the_truth_of_every_benchmark(tmp_path: Path) -> None:
    write_scene(tmp_path, 'kitchen')
    write_scene(tmp_path, 'hotel')
    scenes = cloud_scenes(tmp_path, '3dlomatch')
    assert [scene.name for scene in scenes] == ['hotel', 'kitchen']
    assert list(scenes[0].truth) == ['3dmatch', '3dlomatch'] and scenes[0].count == 3
    assert [path.name for path in scenes[0].clouds] == [f'cloud_bin_{k}.ply' for k in range(3)]
    assert scenes[0].overlap == {(0, 1): 0.5}
    assert [scene.name for scene in cloud_scenes(tmp_path, '3dmatch', ['kit'])] == ['kitchen']


def test_pose_graphs_are_named_after_scene_and_method(tmp_path: Path) -> None:
    write_scene(tmp_path, 'kitchen')
    write_truth(tmp_path / 'office-evaluation')
    write_log(tmp_path / 'office-evaluation' / 'spin.log', 3, PAIRS)
    scenes = pose_graph_scenes(tmp_path)
    assert [scene.name for scene in scenes] == ['kitchen.fpfh', 'office.spin']
    assert [list(scene.truth) for scene in scenes] == [['3dmatch', '3dlomatch'], ['redwood']]
    assert list(scenes[1].estimates) == list(PAIRS)


def test_scannet_poses_follow_the_convention(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    T_scan_world = np.tile(np.eye(4), (3, 1, 1))
    T_scan_world[:, :3, 3] = rng.normal(size=(3, 3))
    i, j = np.array([0, 0, 1]), np.array([1, 2, 2])
    T_j_i = T_scan_world[j] @ np.linalg.inv(T_scan_world[i])
    np.savez(tmp_path / 'scene0.npz', i=i, j=j, T_j_i=T_j_i[:, :3], T_scan_world=T_scan_world)
    scene, = pose_graph_scenes(tmp_path)
    assert not scene.truth['scannet'].information
    for pair, T in scene.truth['scannet'].T_i_j.items():
        np.testing.assert_allclose(scene.estimates[pair], T, atol=1e-12)


def break_fragment(root: Path) -> None:
    (root / 'fragments/a/cloud_bin_1.ply').rename(root / 'fragments/a/cloud_bin_7.ply')


def break_info(root: Path) -> None:
    write_info(root / 'benchmarks/3DMatch/a/gt.info', 3, {(0, 1): np.eye(6)})


@pytest.mark.parametrize(('damage', 'words', 'cause'), [
    (break_fragment, [], r'3 fragments but gt.log speaks of 3, no cloud_bin_1\.ply'),
    (break_info, [], 'lacks pair 0 2 of gt.log'),
    (lambda root: None, ['attic'], "no scene is called 'attic', there are: .*a"),
    (lambda root: (root / 'benchmarks').rename(root / 'x'), [], 'no scenes there'),
])
def test_what_is_missing_is_named(tmp_path: Path, damage, words: list[str], cause: str) -> None:
    write_scene(tmp_path, 'a')
    damage(tmp_path)
    with pytest.raises(InputError, match=cause):
        cloud_scenes(tmp_path, '3dmatch', words)


def test_pose_graphs_without_truth_or_of_other_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no pose graphs there'):
        pose_graph_scenes(tmp_path)
    write_scene(tmp_path, 'a')
    write_log(tmp_path / 'pose_graphs/a/fpfh.log', 4, PAIRS)
    with pytest.raises(InputError, match=r'fpfh\.log: speaks of 4 fragments, gt.log of 3'):
        pose_graph_scenes(tmp_path)
    (tmp_path / 'benchmarks').rename(tmp_path / 'x')
    with pytest.raises(InputError, match='holds no truth'):
        pose_graph_scenes(tmp_path)


def test_an_empty_list_does_not_hide_the_number_of_fragments(tmp_path: Path) -> None:
    write_scene(tmp_path, 'a')
    for name in ('gt.log', 'gt.info'):
        (tmp_path / 'benchmarks/3DLoMatch/a' / name).write_text('')
    scene, = cloud_scenes(tmp_path, '3dmatch')
    assert scene.count == 3 and not scene.truth['3dlomatch'].T_i_j


def write_poses(root: Path, count: int) -> None:
    """Write the poses of the first fragments of scene a; fragment k stands at x = k."""
    for k in range(count):
        pose = f'1 0 0 {k}\n0 1 0 0\n0 0 1 0\n0 0 0 1.000001\n'
        (root / f'fragments/a/cloud_bin_{k}.info.txt').write_text(f'a\tseq-01\t0\t49\n{pose}')


def test_poses_of_fragments_are_read_where_they_are(tmp_path: Path) -> None:
    write_scene(tmp_path, 'a')
    assert cloud_scenes(tmp_path, '3dmatch')[0].T_world_fragment is None
    write_poses(tmp_path, 3)
    for scene in (*cloud_scenes(tmp_path, '3dmatch'), *pose_graph_scenes(tmp_path)):
        assert scene.T_world_fragment is not None
        np.testing.assert_array_equal(scene.T_world_fragment[:, 0, 3], [0, 1, 2])
        np.testing.assert_array_equal(scene.T_world_fragment[:, 3], [[0, 0, 0, 1]] * 3)


def test_poses_of_some_fragments_are_refused(tmp_path: Path) -> None:
    write_scene(tmp_path, 'a')
    write_poses(tmp_path, 2)
    with pytest.raises(InputError, match=r'cloud_bin_2\.info\.txt: cannot be read'):
        cloud_scenes(tmp_path, '3dmatch')
    (tmp_path / 'fragments/a/cloud_bin_2.info.txt').write_text('a\n' + '2 0 0 0\n' * 4)
    with pytest.raises(InputError, match=r'cloud_bin_2\.info\.txt: expected a line'):
        cloud_scenes(tmp_path, '3dmatch')


def test_a_truth_the_wrong_way_round_is_refused(tmp_path: Path) -> None:
    write_scene(tmp_path, 'a')
    for name, write, size in (('gt.log', write_log, 4), ('gt.info', write_info, 6)):
        write(tmp_path / 'benchmarks/3DMatch/a' / name, 3, {(2, 1): np.eye(size)})
    with pytest.raises(InputError, match=r'gt\.log: write pair 2 1 as 1 2'):
        cloud_scenes(tmp_path, '3dmatch')


def test_estimates_the_wrong_way_round_are_inverted(tmp_path: Path) -> None:
    write_scene(tmp_path, 'a')
    T_2_0 = np.eye(4)
    T_2_0[:3, 3] = 1, 2, 3
    write_log(tmp_path / 'pose_graphs/a/fpfh.log', 3, {(2, 0): T_2_0, (1, 2): np.eye(4)})
    scene, = pose_graph_scenes(tmp_path)
    assert list(scene.estimates) == [(0, 2), (1, 2)]
    np.testing.assert_allclose(scene.estimates[0, 2], np.linalg.inv(T_2_0))


@pytest.mark.parametrize(('i', 'j', 'cause'), [
    ([0, 1], [1, 1], 'a.npz: 1 1 is no pair of 3 fragments'),
    ([0, 1], [1, 3], 'a.npz: 1 3 is no pair of 3 fragments'),
    ([0, 1], [1, 0], 'a.npz: holds pair 1 0 twice'),
    ([0, 0], [1, 1], 'a.npz: holds pair 0 1 twice'),
])
def test_a_pair_that_is_none_or_double_is_named(
    tmp_path: Path, i: list[int], j: list[int], cause: str,
) -> None:
    T_j_i = np.tile(np.eye(4)[:3], (2, 1, 1))
    np.savez(tmp_path / 'a.npz', i=i, j=j, T_j_i=T_j_i, T_scan_world=np.tile(np.eye(4), (3, 1, 1)))
    with pytest.raises(InputError, match=cause):
        pose_graph_scenes(tmp_path)


def test_a_broken_npz_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / 'a.npz').write_bytes(b'not a zip file')
    with pytest.raises(InputError, match='no pose graph'):
        pose_graph_scenes(tmp_path)
