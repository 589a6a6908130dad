# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Point-cloud files: every encoding is read, and no file breaks the reader."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from mvreg_ros.data.clouds import input_files, read_cloud, read_fragment, read_fragments
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.types import Fragment, InputError, MAX_COORDINATE
import numpy as np
import open3d as o3d
from pypcd4 import Encoding, PointCloud
import pytest

POINTS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
PLY_HEADER = (b'ply\nformat binary_little_endian 1.0\ncomment a scan\nelement vertex 2\n'
              b'property float x\nproperty float y\nproperty float z\nend_header\n')
PCD_HEADER = (b'VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1\n'
              b'HEIGHT 1\nVIEWPOINT %s\nPOINTS 1\nDATA ascii\n1 2 3\n')


def ply(order: str, kind: str, before: bytes = b'', after: bytes = b'') -> bytes:
    """Return POINTS between extra properties, in a byte order and type of numpy."""
    word = {'<': 'binary_little_endian', '>': 'binary_big_endian'}[order]
    name = {'f4': 'float', 'f8': 'double'}[kind]
    row = np.dtype([('id', order + 'u2'), ('z', order + kind), ('y', order + kind),
                    ('x', order + kind), ('quality', 'u1')])
    table = np.zeros(len(POINTS), row)
    table['x'], table['y'], table['z'] = POINTS.T
    header = (f'ply\nformat {word} 1.0\nobj_info by hand\n' + before.decode() +
              f'element vertex {len(POINTS)}\nproperty ushort id\nproperty {name} z\n'
              f'property {name} y\nproperty {name} x\nproperty uchar quality\n'
              + after.decode() + 'end_header\n')
    return header.encode() + table.tobytes()


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('kind', ['f4', 'f8'])
def test_binary_ply_of_any_layout(tmp_path: Path, order: str, kind: str) -> None:
    path = tmp_path / 'a.PLY'
    path.write_bytes(ply(order, kind))
    np.testing.assert_array_equal(read_cloud(path), POINTS)


def test_faces_after_the_vertices_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / 'mesh.ply'
    faces = b'element face 2\nproperty list uchar int vertex_indices\n'
    path.write_bytes(ply('<', 'f4', after=faces) + b'\3' + bytes(12) + b'\4' + bytes(16))
    np.testing.assert_array_equal(read_cloud(path), POINTS)


@pytest.mark.parametrize('ascii_file', [True, False])
@pytest.mark.parametrize('compressed', [True, False])
@pytest.mark.parametrize('suffix', ['ply', 'pcd'])
def test_what_open3d_writes_is_read(
    tmp_path: Path, suffix: str, ascii_file: bool, compressed: bool,
) -> None:
    path = tmp_path / f'cloud.{suffix}'
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(POINTS))
    cloud.normals = cloud.points
    assert o3d.io.write_point_cloud(
        str(path), cloud, write_ascii=ascii_file, compressed=compressed)
    np.testing.assert_allclose(read_cloud(path), POINTS, atol=1e-5)


@pytest.mark.parametrize('encoding', ['ascii', 'binary', 'binary_compressed'])
def test_pcd_with_other_fields(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / 'cloud.pcd'
    columns = [np.arange(50, dtype=np.uint8), *POINTS.T.astype(np.float64)]
    types = (np.uint8, np.float64, np.float64, np.float64)
    PointCloud.from_points(columns, ('ring', 'z', 'x', 'y'), types).save(path, Encoding(encoding))
    np.testing.assert_allclose(read_cloud(path), POINTS[:, [1, 2, 0]], atol=1e-6)


def test_the_sensor_stood_at_the_viewpoint_of_a_pcd_and_at_the_origin_of_a_ply(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'a.pcd'
    path.write_bytes(PCD_HEADER % b'1.5 -2 0.25 0.5 0.5 0.5 0.5')
    origin = read_fragment(path, 0).sensor_origin
    assert origin.dtype == np.float32 and origin.tolist() == [1.5, -2, 0.25]
    assert read_fragment(write_cloud(tmp_path / 'a.ply'), 0).sensor_origin.tolist() == [0, 0, 0]


def test_float32_keeps_millimetres_up_to_the_limit() -> None:
    assert np.spacing(np.float32(MAX_COORDINATE)) < 1e-3


def test_a_file_that_cannot_be_prepared_is_named(tmp_path: Path) -> None:
    files = [write_cloud(tmp_path / name) for name in ('a/c_1.ply', 'b/c_1.ply')]

    def prepare(fragment: Fragment) -> Fragment:
        if fragment.id == 1:
            raise InputError('fragment c_1 has 50 points')
        return fragment

    with pytest.raises(InputError) as caught:
        read_fragments(files, prepare)
    assert str(caught.value) == f'{files[1]}: fragment c_1 has 50 points'


def test_points_that_are_not_finite_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / 'a.ply'
    points = POINTS.copy()
    points[3, 1], points[7, 2] = np.nan, -np.inf
    path.write_bytes(encode_ply(points))
    cloud = read_cloud(path)
    assert cloud.dtype == np.float32 and cloud.flags.c_contiguous
    np.testing.assert_array_equal(cloud, np.delete(POINTS, [3, 7], axis=0))


@pytest.mark.parametrize(('name', 'content', 'cause'), [
    ('a.ply', b'', 'header is missing'),
    ('a.ply', PLY_HEADER, 'truncated'),
    ('a.ply', PLY_HEADER + bytes(23), 'truncated'),
    ('a.ply', PLY_HEADER.replace(b'vertex 2', b'vertex 0'), 'no finite points'),
    ('a.ply', PLY_HEADER.replace(b'float x', b'float s') + bytes(24), 'no x, y and z'),
    ('a.ply', PLY_HEADER.replace(b'vertex', b'camera') + bytes(24), 'no vertices'),
    ('a.ply', PLY_HEADER.replace(b'float y', b'flaot y') + bytes(24), 'not understood'),
    ('a.ply', PLY_HEADER.replace(b'binary_little_endian', b'ascii') + b'1 2 3\n', 'truncated'),
    ('a.ply', PLY_HEADER + np.full(6, np.nan, 'f4').tobytes(), 'no finite points'),
    ('a.ply', PLY_HEADER + np.full(6, 1.1e4, 'f4').tobytes(), 'move the cloud to the origin'),
    ('a.pcd', b'', 'cannot be used'),
    ('a.pcd', PCD_HEADER % b'nan 0 0 1 0 0 0', 'its viewpoint is'),
    ('a.pcd', PCD_HEADER % b'0 1e99 0 1 0 0 0', 'its viewpoint is'),
    ('a.pcd', b'VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 9\n'
              b'HEIGHT 1\nPOINTS 9\nDATA binary\n' + bytes(24), 'truncated'),
    ('a.pcd', b'VERSION 0.7\nFIELDS a b\nSIZE 4 4\nTYPE F F\nCOUNT 1 1\nWIDTH 1\n'
              b'HEIGHT 1\nPOINTS 1\nDATA ascii\n1 2\n', 'no x, y and z'),
    ('a.obj', b'v 0 0 0', 'not a .ply or .pcd file'),
])
def test_errors_name_the_file_and_the_cause(
    tmp_path: Path, name: str, content: bytes, cause: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=cause) as caught:
        read_cloud(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 200), st.sampled_from(['.ply', '.pcd']))
@example(PLY_HEADER.replace(b'2', b'99999999999999999999'), 0, '.ply')
@example(PLY_HEADER.replace(b'float y', b'float x'), 0, '.ply')
def test_any_bytes_give_points_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, cut: int, suffix: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / f'noise{suffix}'
    path.write_bytes((PLY_HEADER + bytes(24))[:cut] + noise)
    try:
        cloud = read_cloud(path)
    except InputError:
        return
    assert cloud.ndim == 2 and cloud.shape[1] == 3 and np.isfinite(cloud).all() and len(cloud)


HEADER_LINE = st.one_of(
    st.builds('element {} {}'.format, st.sampled_from(['vertex', 'face', 'x']),
              st.integers(-2, 10 ** 12)),
    st.builds('property {} {}'.format, st.sampled_from(['float', 'double', 'uchar', 'half']),
              st.sampled_from('xyza')),
    st.just('property list uchar int vertex_indices'), st.text(max_size=20))


@given(st.sampled_from(['ascii', 'binary_little_endian', 'binary_big_endian', 'morse']),
       st.lists(HEADER_LINE, max_size=6), st.binary(max_size=64))
def test_any_ply_header_gives_points_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, word: str, lines: list[str], body: bytes,
) -> None:
    path = tmp_path_factory.getbasetemp() / 'header.ply'
    text = '\n'.join(['ply', f'format {word} 1.0', 'element vertex 2', 'property float x',
                      'property float y', 'property float z', *lines, 'end_header', ''])
    path.write_bytes(text.encode('utf-8', 'surrogatepass') + body)
    with suppress(InputError):
        assert np.isfinite(read_cloud(path)).all()


@given(st.lists(st.sampled_from([
    'FIELDS x y z', 'SIZE 4 4 4', 'TYPE F F F', 'COUNT 1 1 1', 'WIDTH 2', 'HEIGHT 1', 'POINTS 2',
    'POINTS 999999999999', 'VERSION 0.7', 'DATA ascii', 'DATA binary', 'DATA binary_compressed',
    'SIZE 8 3 1', 'TYPE U F', 'FIELDS x x x', 'COUNT 0 1 900',
]), max_size=12), st.binary(max_size=64))
def test_any_pcd_header_gives_points_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], body: bytes,
) -> None:
    path = tmp_path_factory.getbasetemp() / 'header.pcd'
    path.write_bytes('\n'.join([*lines, '']).encode() + body)
    with suppress(InputError):
        assert np.isfinite(read_cloud(path)).all()


def write_cloud(path: Path) -> Path:
    """Write POINTS to a file that `path` names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_ply(POINTS))
    return path


def test_a_folder_is_read_in_the_natural_order_of_names(tmp_path: Path) -> None:
    for name in ('cloud_bin_10.ply', 'cloud_bin_2.ply', 'cloud_bin_0.ply', '._cloud_bin_0.ply'):
        write_cloud(tmp_path / 'scene' / name)
    (tmp_path / 'scene' / 'cloud_bin_0.info.txt').write_text('poses are truth, not input')
    single = write_cloud(tmp_path / 'single.ply')
    files = input_files([single, tmp_path / 'scene'])
    fragments = [read_fragment(path, index) for index, path in enumerate(files)]
    assert [f.name for f in fragments] == ['single', 'cloud_bin_0', 'cloud_bin_2', 'cloud_bin_10']
    assert [f.id for f in fragments] == [0, 1, 2, 3]
    assert [f.stamp_ns for f in fragments] == [0, 10 ** 9, 2 * 10 ** 9, 3 * 10 ** 9]
    assert all(f.T_map_fragment is None for f in fragments)


@pytest.mark.parametrize(('make', 'cure'), [
    ('bag/metadata.yaml', 'a bag is registered alone'),
    ('recording/a.mcap', 'a bag is registered alone'),
    ('results/fragments.csv', 'saved results'),
    ('nothing/readme.txt', 'holds no .ply or .pcd files'),
])
def test_folders_that_cannot_be_read_name_the_cure(tmp_path: Path, make: str, cure: str) -> None:
    path = tmp_path / make
    path.parent.mkdir()
    path.touch()
    with pytest.raises(InputError, match=cure):
        input_files([path.parent])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='no such file'):
        input_files([tmp_path / 'a.ply'])
