# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a registration, read back by the programs they are meant for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import gtsam
from mvreg_ros.data.graph import stamp_text
from mvreg_ros.data.merge import fragment_colors
from mvreg_ros.data.outputs import write_results
from mvreg_ros.parameters import defaults
from mvreg_ros.types import InputError
import numpy as np
import open3d as o3d
import pytest
from results import made_up_registration, NOT_PLACED
import yaml

FRAGMENTS, REGISTRATION = made_up_registration()


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the results once."""
    directory = tmp_path_factory.mktemp('results') / 'out'
    write_results(directory, FRAGMENTS, REGISTRATION, defaults())
    return directory


def test_exactly_the_promised_files_are_there(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        'poses.tum', 'poses_1.tum', 'graph.g2o', 'graph.json', 'map.ply', 'fragments.csv',
        'config.yaml', 'report.html'}
    assert list(folder.parent.iterdir()) == [folder]


def test_open3d_reads_the_pose_graph(folder: Path) -> None:
    graph = o3d.io.read_pose_graph(str(folder / 'graph.json'))
    assert len(graph.nodes) == 6 and len(graph.edges) == 4
    for id, node in enumerate(graph.nodes):
        pose = REGISTRATION.poses[id] if REGISTRATION.placed[id] else np.eye(4)
        np.testing.assert_allclose(node.pose, pose)
    for row, edge in enumerate(graph.edges):
        i, j = REGISTRATION.edges.i[row], REGISTRATION.edges.j[row]
        assert (edge.source_node_id, edge.target_node_id) == (j, i) and edge.uncertain
        assert edge.confidence == pytest.approx(REGISTRATION.edges.confidence[row])
        np.testing.assert_allclose(edge.transformation, REGISTRATION.edges.T_i_j[row])
        ours = REGISTRATION.edges.information[row]
        np.testing.assert_allclose(edge.information[:3, :3], ours[3:, 3:])
        np.testing.assert_allclose(edge.information[3:, 3:], ours[:3, :3])
        np.testing.assert_allclose(edge.information[:3, 3:], ours[3:, :3])


def test_an_edge_of_open3d_maps_its_source_into_its_target(folder: Path) -> None:
    graph = o3d.io.read_pose_graph(str(folder / 'graph.json'))
    for edge in graph.edges[:3]:
        T_target_source = np.linalg.inv(graph.nodes[edge.target_node_id].pose) @ \
            graph.nodes[edge.source_node_id].pose
        np.testing.assert_allclose(edge.transformation, T_target_source, atol=1e-9)


def test_the_pose_graph_says_more_than_open3d_asks_for(folder: Path) -> None:
    graph = json.loads((folder / 'graph.json').read_text())
    assert [node['id'] for node in graph['nodes']] == list(range(6))
    assert [node['component'] for node in graph['nodes']] == [0, 0, 1, 0, -1, 1]
    assert graph['nodes'][4]['placed'] is False and graph['nodes'][4]['reason'] == NOT_PLACED
    assert graph['nodes'][3]['stamp'] == '1700000000.123456789'
    assert [edge['verdict'] for edge in graph['edges']] == ['kept', 'bridge', 'kept', 'pruned']
    assert graph['edges'][3]['reason'] == 'inconsistent' and graph['edges'][3]['inliers'] == 3


def test_gtsam_reads_the_g2o_file(folder: Path) -> None:
    graph, values = gtsam.readG2o(str(folder / 'graph.g2o'), True)
    assert sorted(values.keys()) == [0, 1, 2, 3, 5] and graph.size() == 3
    for id in values.keys():  # noqa: SIM118 - no mapping
        np.testing.assert_allclose(
            values.atPose3(id).matrix(), REGISTRATION.poses[id], atol=1e-7)
    for row in range(3):
        factor = graph.at(row)
        assert list(factor.keys()) == [REGISTRATION.edges.i[row], REGISTRATION.edges.j[row]]
        assert graph.at(row).error(values) == pytest.approx(0, abs=1e-9)
        information = factor.noiseModel().information()
        ours = REGISTRATION.edges.information[row]
        np.testing.assert_allclose(information[3:, 3:], ours[:3, :3], rtol=1e-6)
        np.testing.assert_allclose(information[:3, 3:], ours[3:, :3], rtol=1e-6)


def test_each_component_has_one_fixed_vertex(folder: Path) -> None:
    lines = (folder / 'graph.g2o').read_text().splitlines()
    assert [line for line in lines if line.startswith('FIX')] == ['FIX 0', 'FIX 2']


def test_trajectories_are_sorted_by_stamp_and_lose_nothing(folder: Path) -> None:
    rows = np.loadtxt(folder / 'poses.tum')
    assert rows.shape == (3, 8) and (np.diff(rows[:, 0]) > 0).all()
    np.testing.assert_allclose(rows[:, 1:4], REGISTRATION.poses[[1, 0, 3], :3, 3], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(rows[:, 4:], axis=1), 1, atol=1e-8)
    assert (folder / 'poses.tum').read_text().splitlines()[3].startswith('1700000000.123456789 ')
    assert len(np.loadtxt(folder / 'poses_1.tum')) == 2


@pytest.mark.parametrize(('stamp_ns', 'text'), [
    (0, '0.000000000'), (5, '0.000000005'), (1_000_000_000, '1.000000000'),
    (9_007_199_254_740_993_001, '9007199254.740993001'),
])
def test_stamps_are_exact(stamp_ns: int, text: str) -> None:
    assert stamp_text(stamp_ns) == text


def test_open3d_reads_the_map(folder: Path) -> None:
    cloud = o3d.io.read_point_cloud(str(folder / 'map.ply'))
    points, colors = np.asarray(cloud.points), np.asarray(cloud.colors)
    moved = np.concatenate([
        FRAGMENTS[id].points @ REGISTRATION.poses[id, :3, :3].T + REGISTRATION.poses[id, :3, 3]
        for id in (0, 1, 3)])
    assert 1000 < len(points) <= len(moved)
    nearest = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(moved))
    assert max(cloud.compute_point_cloud_distance(nearest)) < 1e-5
    assert len(np.unique(np.floor(points / 0.025), axis=0)) == pytest.approx(len(points), rel=0.01)
    expected = fragment_colors(6)[[0, 1, 3]]
    np.testing.assert_array_equal(
        np.unique(np.rint(colors * 255), axis=0), np.unique(expected, axis=0))


def test_fragments_csv_has_a_row_for_each_fragment(folder: Path) -> None:
    with open(folder / 'fragments.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['id', 'stamp', 'frame', 'placed', 'component', 'reason']
    assert [row['placed'] for row in rows] == ['true', 'true', 'true', 'true', 'false', 'true']
    assert rows[4]['frame'] == FRAGMENTS[4].frame_id and rows[4]['reason'] == NOT_PLACED
    assert rows[3]['stamp'] == '1700000000.123456789' and rows[2]['component'] == '1'


def test_config_yaml_tells_how_it_was_made(folder: Path) -> None:
    config = yaml.safe_load((folder / 'config.yaml').read_text())
    assert config['parameters'] == defaults() and config['device'] in ('cpu', 'cuda', 'mps')
    assert config['versions']['numpy'] == np.__version__


def test_a_folder_that_holds_something_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match='exists and is not empty'):
        write_results(folder, FRAGMENTS, REGISTRATION, defaults())


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    write_results(tmp_path / 'link', FRAGMENTS, REGISTRATION, defaults())
    assert (tmp_path / 'real' / 'map.ply').is_file()
    with pytest.raises(InputError, match='is a mount point'):
        write_results(Path('/proc'), FRAGMENTS, REGISTRATION, defaults())


def test_nothing_is_left_of_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_results(tmp_path / 'out', FRAGMENTS, REGISTRATION, {})
    assert not list(tmp_path.iterdir())
