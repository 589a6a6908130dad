# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`mvreg weights`: what it prints, what it writes and how it refuses."""

from __future__ import annotations

from pathlib import Path

from mvreg_ros.cli import main
from mvreg_ros.features.fcgf import FcgfConfig
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.weights.files import load_weights, save_weights
from published_weights import FCGF_SHAPES, pairwise_file, random_state, write, zoo_file
import pytest

TINY = LmpcrConfig(
    fcgf=FcgfConfig(encoder=(2, 2, 2, 2), decoder=(2, 2, 2, 2), conv1_kernel_size=3),
    voxel_size=0.05, width=6, clusters=7)


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Write a file as FCGF publishes them."""
    return write(tmp_path / 'zoo.pth', zoo_file(random_state(FCGF_SHAPES)), legacy=True)


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    """Write a file with registration blocks, of a smaller width, only."""
    return write(tmp_path / 'model_best.pt', pairwise_file({
        f'filtering_module.{name.replace("psi_", "reg_").replace("iter.", "iter.0.")}': tensor
        for name, tensor in Lmpcr(TINY).state_dict().items() if name.startswith('psi_')}))


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """Run a command that must end with code 2 and one line on standard error; return the line."""
    assert main(['weights', *map(str, arguments)]) == 2
    streams = capsys.readouterr()
    assert streams.out == '' and streams.err.count('\n') == 1
    assert streams.err.startswith('mvreg: error: ')
    return streams.err


def test_info_says_what_a_published_file_holds(zoo: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['weights', 'info', str(zoo)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f'{zoo}: torch legacy, state_dict, 129 entries',
        '  phi       8,760,384 parameters  descriptor',
        'descriptors of 32 numbers, conv1 of 7^3, voxels of 0.025 m',
        'for --method lmpcr: missing psi_init, psi_iter',
    ]


def test_info_says_what_a_file_does_not_tell(blocks: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['weights', 'info', str(blocks)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == 'it does not tell its voxel size, so that of the paper is assumed'
    assert [line.split()[0] for line in lines[2:4]] == ['psi_init', 'psi_iter']
    assert lines[4] == 'for --method lmpcr: missing phi'


def test_convert_puts_parts_together(
    tmp_path: Path, zoo: Path, blocks: Path, capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / 'lmpcr.safetensors'
    assert main(['weights', 'convert', str(zoo), str(blocks), '--out', str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ['phi', 'psi_init', 'psi_iter']
    assert lines[-2:] == [
        'for --method lmpcr: complete but for zeta, inliers are counted in its place',
        f'wrote {out}']
    assert load_weights(out).config.width == 6

    assert main(['weights', 'info', str(out)]) == 0
    assert capsys.readouterr().out.startswith(f'{out}: safetensors, 463 entries\n')
    line = refused(capsys, 'convert', zoo, '--out', out)
    assert f'{out}: exists, name a new file' in line
    line = refused(capsys, 'convert', zoo, out, '--out', tmp_path / 'twice')
    assert f'{out}: holds phi, as {zoo} does' in line
    assert not (tmp_path / 'twice').exists()


def test_info_of_a_whole_network(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'tiny.safetensors'
    save_weights(out, Lmpcr(TINY).state_dict(), {'config': TINY.to_json(), 'source': 'a test'})
    assert main(['weights', 'info', str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == ['descriptors of 32 numbers, conv1 of 3^3, voxels of 0.05 m',
                          'for --method lmpcr: complete', 'source: a test']


@pytest.mark.parametrize(('arguments', 'cause'), [
    (['info'], 'required: FILE; see mvreg weights info --help'),
    ([], 'required: ACTION; see mvreg weights --help'),
    (['convert', 'zoo.pth'], 'required: --out; see mvreg weights convert --help'),
    (['info', 'nothing.pth'], 'nothing.pth: cannot be read: No such file'),
    (['info', '.'], 'cannot be read: Is a directory'),
    (['info', 'text.txt'], 'text.txt: is neither a torch checkpoint nor a whole file of weights'),
    (['convert', 'text.txt', '--out', 'out'], 'text.txt: is neither'),
    (['convert', 'zoo.pth', '--out', 'no/where'], 'no/where: cannot be written: No such file'),
])
def test_refusals_are_one_line_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
    arguments: list[str], cause: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text.txt').write_text('no weights\n')
    state = {name.removeprefix('phi.'): tensor for name, tensor in Lmpcr(TINY).state_dict().items()
             if name.startswith('phi.')}
    write(tmp_path / 'zoo.pth', state)
    assert cause in refused(capsys, *arguments)
    assert {path.name for path in tmp_path.iterdir()} == {'text.txt', 'zoo.pth'}
