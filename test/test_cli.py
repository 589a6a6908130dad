# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: what it writes and prints, and how it refuses."""

from __future__ import annotations

from base64 import b64encode
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import warnings

from mvreg_ros import __version__
from mvreg_ros.cli import main
from mvreg_ros.data.logs import read_log
from mvreg_ros.data.ply import encode_ply
from mvreg_ros.data.scenes import cloud_scenes
from mvreg_ros.parameters import PARAMETERS
from mvreg_ros.simulate.scene_files import write_scene as write_simulated_scene
from mvreg_ros.simulate.session import simulate_session
import numpy as np
import pytest
from real_data import find_real_data
from small_scene import fragments, VOXEL_SIZE, write_scene

COARSE = ['--features', 'fpfh', '--voxel-size', str(VOXEL_SIZE), '--min-confidence', '0.85']
FIGURES = {'rr_pairwise', 'rr_multiview', 'coverage', 'rotation_deg', 'translation_m',
           'pairs_evaluated', 'seconds', 'peak_memory_mb', 'recall_15deg_30cm', 'pairwise',
           'all_pairs', 'within_component', 'listed'}


def refused(capsys: pytest.CaptureFixture, *arguments: str | Path) -> str:
    """Run a command that must end with code 2 and one line on standard error; return the line."""
    assert main([str(argument) for argument in arguments]) == 2
    streams = capsys.readouterr()
    assert streams.out == '' and streams.err.count('\n') == 1
    assert streams.err.startswith('mvreg: error: ')
    return streams.err


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small scene."""
    folder = tmp_path_factory.mktemp('root')
    write_scene(folder, 'field')
    no_low_overlap = folder / 'benchmarks/3DLoMatch/field'
    no_low_overlap.mkdir(parents=True)
    for name in ('gt.log', 'gt.info'):
        (no_low_overlap / name).touch()
    return folder


def test_help_does_not_wait_for_torch() -> None:
    code = ('import sys; from mvreg_ros.cli import build_parser; build_parser().format_help();'
            'sys.exit(any(name in sys.modules for name in ("torch", "scipy", "open3d")))')
    assert subprocess.run([sys.executable, '-c', code], env=environment()).returncode == 0


def test_version_and_help(capsys: pytest.CaptureFixture) -> None:
    for arguments in (['--version'], ['--help'], ['register', '--help']):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f'mvreg_ros {__version__}' in text and 'mvreg evaluate 3dmatch' in text
    for parameter in PARAMETERS:
        option = f"--{parameter.name.replace('_', '-')} "
        assert (option in text) or parameter.node_only or isinstance(parameter.default, bool)
    assert '--no-refine' in text and '--map-frame' not in text


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, '-m', 'mvreg_ros.cli', 'doctor'], stdout=writer, stderr=subprocess.PIPE,
        text=True, check=False)
    os.close(writer)
    assert process.returncode == 0
    assert process.stderr == ''


@pytest.mark.parametrize(('arguments', 'cause'), [
    ([], 'required: COMMAND'),
    (['fly'], "invalid choice: 'fly'"),
    (['register', 'a.ply'], 'required: --out; see mvreg register --help'),
    (['register', 'a.ply', '--out', 'OUT'], 'a.ply: no such file'),
    (['register', 'a.ply', '--out', 'OUT', '--voxel-size', 'much'], 'invalid float value'),
    (['register', '.', '--out', 'OUT', '--voxel-size', '99'], 'voxel_size must lie in'),
    (['register', '.', '--out', 'OUT', '--method', 'magic'], 'invalid choice'),
    (['register', '.', '--out', 'OUT', '--exclude', 'all'], "'all' is neither an id nor"),
    (['evaluate', '3dmatch', '.', '--out', 'OUT'], 'no scenes there'),
    (['evaluate', 'sync', '.', '--out', 'OUT'], 'no pose graphs there'),
    (['simulate', '--out', 'OUT', '--scenes', '0'], '--scenes must be 1 or more'),
])
def test_refusals_are_one_line_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
    arguments: list[str], cause: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'cloud.ply').write_text('no cloud')
    assert cause in refused(capsys, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ['cloud.ply']


def test_a_broken_cloud_is_named_and_nothing_is_left(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture,
) -> None:
    good = root / 'fragments/field/cloud_bin_0.ply'
    bad = tmp_path / 'bad.ply'
    bad.write_bytes(good.read_bytes()[:-1])
    assert main(['register', str(good), str(bad), '--out', str(tmp_path / 'out'), *COARSE]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f'mvreg: error: {bad}: cannot be used, it is truncated')
    assert list(tmp_path.iterdir()) == [bad]


def test_a_file_with_too_few_points_is_named_with_its_folder(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture,
) -> None:
    small = tmp_path / 'cloud_bin_0.ply'
    small.write_bytes(encode_ply(np.eye(3)))
    good = root / 'fragments/field/cloud_bin_0.ply'
    assert main(['register', str(good), str(small), '--out', str(tmp_path / 'out'), *COARSE]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f'mvreg: error: {small}: ') and '3 points' in last


def test_a_folder_that_holds_something_is_refused_before_the_work(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture,
) -> None:
    (tmp_path / 'mine.txt').touch()
    line = refused(capsys, 'register', root / 'fragments/field', '--out', tmp_path)
    assert 'exists and is not empty' in line
    assert [path.name for path in tmp_path.iterdir()] == ['mine.txt']


def test_register_places_the_fragments(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / 'new' / 'out'
    assert main(['register', str(root / 'fragments/field'), '--out', str(out), *COARSE]) == 0
    streams = capsys.readouterr()
    assert streams.out.startswith('map: 5 of 5 fragments, ') and f'wrote {out} in' in streams.out
    assert 'pairs 10/10' in streams.err
    assert {path.name for path in out.iterdir()} == {
        'poses.tum', 'graph.g2o', 'graph.json', 'map.ply', 'fragments.csv', 'config.yaml',
        'report.html'}
    _, truth = fragments()
    poses = np.loadtxt(out / 'poses.tum')
    expected = (np.linalg.inv(truth[0]) @ truth)[:, :3, 3]
    np.testing.assert_allclose(poses[:, 1:4], expected, atol=0.05)


def test_register_names_the_fragments_that_it_could_not_place(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture,
) -> None:
    field = root / 'fragments/field'
    inputs = [str(field / f'cloud_bin_{k}.ply') for k in (1, 4, 2)]
    alone = tmp_path / 'elsewhere.pcd'
    rng = np.random.default_rng(0)
    points = '\n'.join(f'{x} {y} {z}' for x, y, z in rng.uniform(-1, 1, (2000, 3)))
    alone.write_text('VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n'
                     f'WIDTH 2000\nHEIGHT 1\nPOINTS 2000\nDATA ascii\n{points}\n')
    out = str(tmp_path / 'out')
    assert main(['register', *inputs, str(alone), '--out', out, '--no-refine', *COARSE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('map: 3 of 4 fragments')
    assert lines[1] == 'not placed: 1 of 4 fragments'
    assert lines[2].split()[:2] == ['3', 'elsewhere']


def test_evaluate_scores_a_scene(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / 'out'
    assert main(['evaluate', '3dmatch', str(root), '--out', str(out), *COARSE]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ('field', '15deg_30cm', 'within_component'))
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['benchmark'] == '3dmatch' and metrics['parameters']['voxel_size'] == VOXEL_SIZE
    assert metrics['3dlomatch']['mean']['pairs_evaluated'] == 0
    figures = metrics['scenes']['field']
    assert set(figures) == FIGURES and metrics['mean']['rr_multiview'] == figures['rr_multiview']
    assert figures['rr_pairwise'] == figures['rr_multiview'] == figures['coverage'] == 1
    assert figures['rotation_deg']['ecdf']['3'] == 1 and figures['translation_m']['mean'] < 0.05
    assert figures['pairs_evaluated'] == 3 and figures['listed']['pairs_evaluated'] == 6
    assert figures['recall_15deg_30cm'] == {'pairwise': 1, 'multiview': 1}
    assert figures['all_pairs'] is None  # the scene does not say where its fragments are
    assert metrics['pooled']['rotation_deg'] == figures['rotation_deg']
    assert {'reading', 'features', 'pairs', 'synchronization'} <= set(figures['seconds'])
    multiview = read_log(out / 'multiview/field.log')
    assert multiview.count == 5 and len(multiview.matrices) == 10
    kept = read_log(out / 'edges/field.log').matrices
    assert {(0, 1), (1, 2), (2, 3)} <= set(kept) < set(multiview.matrices)
    assert metrics['calibration']['pooled']['listed_pairs']['edges'] == 6
    pictures = {path.name: path.read_bytes() for path in out.glob('*.png')}
    assert set(pictures) == {'ecdf.png', 'recall_by_overlap.png', 'reliability.png'}
    report = (out / 'report.html').read_text()
    assert 'within_component' in report
    assert all(b64encode(png).decode() in report for png in pictures.values())


def test_evaluate_scores_a_real_scene_on_both_lists(tmp_path: Path) -> None:
    data, words, pairs = find_real_data(), ['--scenes', 'hotel3'], [26, 42]
    if data is None:
        warnings.warn('no real data here (set MVREG_DATA): a simulated scene takes its place')
        session = simulate_session(seed=0, rooms=1, fragments=10)
        write_simulated_scene(session, tmp_path / '3dmatch', 'simulated')
        data, words = tmp_path, []
        (scene,) = cloud_scenes(tmp_path / '3dmatch', '3dmatch', [])
        pairs = [sum(abs(i - j) > 1 for i, j in scene.truth[name].T_i_j)
                 for name in ('3dmatch', '3dlomatch')]
        assert min(pairs) > 2
    out = tmp_path / 'out'
    assert main(['evaluate', '3dmatch', str(data / '3dmatch'), *words, '--out', str(out),
                 '--features', 'fpfh', '--voxel-size', '0.04']) == 0
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['mean']['pairs_evaluated'] == pairs[0]
    assert metrics['3dlomatch']['mean']['pairs_evaluated'] == pairs[1]
    assert metrics['mean']['rr_multiview'] > 0.8
    assert metrics['3dlomatch']['mean']['rr_multiview'] > 0.6
    assert 0.5 < metrics['mean']['all_pairs'] <= metrics['mean']['within_component']


def test_sync_scores_recorded_pose_graphs(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / 'in' / 'field-evaluation'
    folder.mkdir(parents=True)
    for name in ('gt.log', 'gt.info'):
        folder.joinpath(name).write_bytes(
            (root / 'benchmarks/3DMatch/field' / name).read_bytes())
    folder.joinpath('exact.log').write_bytes(folder.joinpath('gt.log').read_bytes())
    out = tmp_path / 'out'
    assert main(['evaluate', 'sync', str(tmp_path / 'in'), '--out', str(out)]) == 0
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['benchmark'] == 'redwood' and list(metrics['scenes']) == ['field.exact']
    assert metrics['mean']['rr_pairwise'] == 1 and metrics['mean']['rr_multiview'] == 1
    assert metrics['mean']['translation_m']['mean'] < 1e-6


@pytest.mark.parametrize(('signal_sent', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing(
    tmp_path: Path, root: Path, signal_sent: signal.Signals, code: int,
) -> None:
    process = subprocess.Popen(
        [sys.executable, '-m', 'mvreg_ros.cli', 'register', str(root / 'fragments/field'),
         '--features', 'fpfh', '--voxel-size', '0.03', '--out', str(tmp_path / 'out')],
        stderr=subprocess.PIPE, text=True, env=environment(),
        # A job that a shell has put in the background ignores SIGINT, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stderr is not None
    assert process.stderr.readline().startswith('reading')
    process.send_signal(signal_sent)
    _, errors = process.communicate()
    assert process.returncode == code
    assert errors.splitlines()[-1] == 'mvreg: interrupted, nothing was written'
    assert 'Traceback' not in errors and not list(tmp_path.iterdir())


def test_simulate_without_open3d_names_the_cure(tmp_path: Path) -> None:
    (tmp_path / 'open3d.py').write_text("raise ModuleNotFoundError('no open3d', name='open3d')\n")
    done = subprocess.run(
        [sys.executable, '-m', 'mvreg_ros.cli', 'simulate', '--out', str(tmp_path / 'out')],
        capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{environment()["PYTHONPATH"]}'})
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert done.stderr.startswith('mvreg: error: simulation needs open3d')
    assert "pip install 'mvreg_ros[simulate]'" in done.stderr
    assert not list(tmp_path.glob('*out*'))


def environment() -> dict[str, str]:
    """Return the environment for a process that imports this checkout."""
    repository = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(repository), os.environ.get('PYTHONPATH', '')])
    return {**os.environ, 'PYTHONPATH': path}
