# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints in all their formats become weights that our networks take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import re

from mvreg_ros.features.fcgf import FcgfConfig, ResUNetBN2C
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.pairwise.registration_block import RegistrationBlock
from mvreg_ros.pairwise.soft_matching import SoftNearestNeighbors
from mvreg_ros.types import InputError
from mvreg_ros.weights.conversion import merged, read_weights_file
from mvreg_ros.weights.files import load_weights, save_weights
from mvreg_ros.weights.layout import check, infer_config, parameter_counts, translated
from published_weights import (
    block_shapes,
    FCGF_SHAPES,
    fcgf_shapes,
    JOINT_SHAPES,
    pairwise_file,
    random_state,
    REGISTRATION_SHAPES,
    write,
    zoo_file,
)
import pytest
from safetensors.torch import save
import torch
from torch import nn, Tensor

COUNTS = {'phi': 8_760_384, 'matching': 1, 'psi_init': 1_236_397, 'psi_iter': 1_236_653}
TINY = LmpcrConfig(
    fcgf=FcgfConfig(encoder=(2, 3, 4, 5), decoder=(3, 4, 5, 6), conv1_kernel_size=5),
    voxel_size=0.05, points=100, width=6, clusters=7, straight_through=False)


def inner(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the weights of a part under the names that its module has for them."""
    return {name.removeprefix(f'{part}.'): tensor for name, tensor in tensors.items()
            if name.startswith(f'{part}.')}


def tiny_fcgf() -> dict[str, Tensor]:
    """Return a small FCGF under the published names."""
    return random_state(shapes_of(ResUNetBN2C(TINY.fcgf)))


def tiny_blocks() -> dict[str, Tensor]:
    """Return small registration blocks under the published names."""
    blocks = {'filtering_module.reg_init.': 6, 'filtering_module.reg_iter.0.': 8}
    return random_state({
        prefix + name: shape for prefix, channels in blocks.items() for name, shape in
        shapes_of(RegistrationBlock(channels, TINY.width, TINY.clusters)).items()})


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes in the state dict of a module."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def of_no_size(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return tensors of these shapes that need no memory."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def assert_same(held: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Compare names and numbers."""
    assert set(held) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(held[name], tensor), name


@pytest.mark.parametrize('legacy', [False, True])
def test_the_joint_model_is_read_and_fits_the_networks(tmp_path: Path, legacy: bool) -> None:
    state = random_state(JOINT_SHAPES)
    assert len(state) == 464
    path = write(tmp_path / 'pairwise_reg.pt', pairwise_file(state), legacy)
    file = read_weights_file(path)
    assert file.container == f'torch {"legacy" if legacy else "zip"}, model'
    assert file.voxel_size is None and file.config == LmpcrConfig()
    assert len(file.tensors) == 464 and parameter_counts(file.tensors) == COUNTS
    for module, part, source in (
        (ResUNetBN2C(), 'phi', 'descriptor_module.'),
        (RegistrationBlock(6), 'psi_init', 'filtering_module.reg_init.'),
        (RegistrationBlock(8), 'psi_iter', 'filtering_module.reg_iter.0.'),
    ):
        module.load_state_dict(inner(file.tensors, part), strict=True)
        assert_same(module.state_dict(), {
            name.removeprefix(source): tensor for name, tensor in state.items()
            if name.startswith(source)})
    matching = SoftNearestNeighbors()
    matching.load_state_dict(inner(file.tensors, 'matching'), strict=True)
    assert matching.temperature == state['feature_matching._temperature']


@pytest.mark.parametrize('legacy', [False, True])
def test_a_file_of_fcgf_is_read_with_its_voxel_size(tmp_path: Path, legacy: bool) -> None:
    state = random_state(FCGF_SHAPES)
    file = read_weights_file(write(tmp_path / 'zoo.pth', zoo_file(state), legacy))
    assert file.container == f'torch {"legacy" if legacy else "zip"}, state_dict'
    assert file.voxel_size == 0.025 and file.config.fcgf == FcgfConfig()
    assert_same(inner(file.tensors, 'phi'), state)


def test_what_a_gpu_and_another_numpy_saved_is_read(tmp_path: Path) -> None:
    state = tiny_fcgf()
    path = write(tmp_path / 'zoo.pth', zoo_file(state), legacy=True)
    data = path.read_bytes()
    for here, there in (
        (b'ctorch\nFloatStorage\n', b'ctorch.cuda\nFloatStorage\n'),
        (b'ctorch\nLongStorage\n', b'ctorch.cuda\nLongStorage\n'),
        (b'X\x03\x00\x00\x00cpu', b'X\x06\x00\x00\x00cuda:0'),
    ):
        assert here in data
        data = data.replace(here, there)
    for module in (b'cnumpy.core.multiarray\n', b'cnumpy._core.multiarray\n'):
        path.write_bytes(re.sub(rb'cnumpy\._?core\.multiarray\n', module, data))
        assert module in path.read_bytes()
        assert_same(inner(read_weights_file(path).tensors, 'phi'), state)


@pytest.mark.parametrize(('rename', 'shapes', 'parts'), [
    (str, FCGF_SHAPES, {'phi'}),
    (lambda name: f'module.{name}', FCGF_SHAPES, {'phi'}),
    (str, REGISTRATION_SHAPES, {'psi_init', 'psi_iter'}),
    (lambda name: f'module.{name}', JOINT_SHAPES, set(COUNTS)),
    (lambda name: re.sub(r'filtering_module\.reg_', 'weights_', name), REGISTRATION_SHAPES,
     {'psi_init', 'psi_iter'}),
    (lambda name: f'filtering_module.reg_init.{name}', block_shapes(6), {'psi_init'}),
    (lambda name: f'phi.{name}', FCGF_SHAPES, {'phi'}),
])
def test_parts_are_known_by_their_names(
    rename: Callable[[str], str], shapes: dict[str, tuple[int, ...]], parts: set[str],
) -> None:
    tensors = translated(of_no_size({rename(name): shape for name, shape in shapes.items()}))
    check(tensors, LmpcrConfig())
    assert parameter_counts(tensors) == {part: COUNTS[part] for part in parts}


def test_a_bare_state_dict_of_a_parallel_module_is_read(tmp_path: Path) -> None:
    state = tiny_fcgf()
    file = read_weights_file(write(
        tmp_path / 'bare.pt', {f'module.{name}': tensor for name, tensor in state.items()}))
    assert file.container == 'torch zip'
    assert_same(inner(file.tensors, 'phi'), state)


@pytest.mark.parametrize(('taps', 'size', 'out'), [(125, 5, 32), (343, 7, 16), (27, 3, 64)])
def test_sizes_are_those_of_the_shapes(taps: int, size: int, out: int) -> None:
    tensors = translated(of_no_size(fcgf_shapes(taps, out)))
    config = infer_config(tensors, LmpcrConfig())
    assert config.fcgf == FcgfConfig(conv1_kernel_size=size, out_channels=out)
    check(tensors, config)


def test_views_and_half_precision_are_read(tmp_path: Path) -> None:
    state = tiny_fcgf()
    flat = torch.cat([t.flatten() for t in state.values() if t.is_floating_point()]).half()
    begin = 0
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = flat[begin:begin + tensor.numel()].view(tensor.shape)
            begin += tensor.numel()
    state['conv1_tr.kernel'] = state['conv1_tr.kernel'].T.contiguous().T
    file = read_weights_file(write(tmp_path / 'half.pth', state))
    assert_same(inner(file.tensors, 'phi'), state)
    save_weights(tmp_path / 'out', file.tensors, merged([file]).metadata)
    held = load_weights(tmp_path / 'out').tensors
    assert held['phi.conv1.kernel'].dtype == torch.float32
    assert held['phi.norm1.bn.num_batches_tracked'].dtype == torch.int64


def test_two_files_make_one_that_is_read_again(tmp_path: Path) -> None:
    files = [
        read_weights_file(write(tmp_path / 'zoo.pth', zoo_file(tiny_fcgf()), legacy=True)),
        read_weights_file(write(tmp_path / 'model_best.pt', pairwise_file(tiny_blocks()))),
    ]
    weights = merged(files)
    assert weights.config == replace(
        TINY, voxel_size=0.025, points=LmpcrConfig().points, straight_through=True)
    path = tmp_path / 'out.safetensors'
    save_weights(path, weights.tensors, weights.metadata)
    again = load_weights(path)
    assert again.metadata == weights.metadata
    assert again.metadata['source'] == 'zoo.pth, model_best.pt'
    assert_same(again.tensors, weights.tensors)
    first = path.read_bytes()
    save_weights(path, again.tensors, again.metadata)
    assert path.read_bytes() == first
    assert {file.name for file in tmp_path.iterdir()} == {
        'zoo.pth', 'model_best.pt', 'out.safetensors'}
    ours = read_weights_file(path)
    assert ours.container == 'safetensors' and ours.voxel_size == 0.025
    with pytest.raises(InputError, match=r'zoo.pth: holds phi, as .*out.safetensors does'):
        merged([ours, files[0]])


def test_a_whole_network_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Lmpcr(TINY)
    nn.init.constant_(network.beta, 0.7)
    metadata = {'config': TINY.to_json(), 'source': 'a test'}
    save_weights(tmp_path / 'tiny', network.state_dict(), metadata)
    weights = load_weights(tmp_path / 'tiny')
    assert weights.config == TINY and weights.metadata == metadata
    again = Lmpcr(weights.config)
    again.load_state_dict(weights.tensors, strict=True)
    assert_same(again.state_dict(), network.state_dict())
    # What shapes do not tell survives a merge too.
    assert merged([read_weights_file(tmp_path / 'tiny')]).config == TINY


def test_parts_of_different_networks_are_not_merged(tmp_path: Path) -> None:
    state = Lmpcr(TINY).state_dict()
    for part, config in (('phi', TINY), ('psi_init', replace(TINY, voxel_size=0.1))):
        tensors = {name: t for name, t in state.items() if name.startswith(part)}
        save_weights(tmp_path / part, tensors, {'config': config.to_json(), 'source': ''})
    files = [read_weights_file(tmp_path / part) for part in ('phi', 'psi_init')]
    with pytest.raises(InputError, match=r'different voxels \(0\.05 m, 0\.1 m\)'):
        merged(files)


FCGF = of_no_size(FCGF_SHAPES)
WHOLE = of_no_size(JOINT_SHAPES)


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    """Return the state without some entries."""
    return {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(('state', 'message'), [
    (without(FCGF, 'norm2.bn.bias'), 'phi: 1 missing (phi.norm2.bn.bias): take'),
    (FCGF | {'norm5.bn.bias': torch.ones(3)}, 'norm5: 1 unexpected (norm5.bn.bias): take'),
    (FCGF | {'final.gain': torch.ones(3)}, 'phi: 1 unexpected (phi.final.gain): take'),
    (FCGF | {'block3.conv1.kernel': torch.ones(27, 128, 127)},
     'phi: 1 of another shape (phi.block3.conv1.kernel (27, 128, 127) for (27, 128, 128)): take'),
    (FCGF | {'conv1.kernel': torch.ones(100, 1, 32)},
     'phi: 1 of another shape (phi.conv1.kernel (100, 1, 32) for (343, 1, 32)): take'),
    (FCGF | {'conv1_tr.kernel': torch.ones(1, 96, 64)},
     'phi.conv1_tr.kernel (1, 96, 64) for (96, 64)'),
    (FCGF | {'final.bias': torch.ones(32)}, 'phi.final.bias (32,) for (1, 32)'),
    (without(FCGF, *(name for name in FCGF if name.startswith('block'))),
     'phi: 84 missing (phi.block1.conv1.kernel, phi.block1.conv2.kernel, '
     'phi.block1.norm1.bn.bias, ...)'),
    (without(WHOLE, 'descriptor_module.final.bias', 'filtering_module.reg_init.output.bias'),
     'phi: 1 missing (phi.final.bias); psi_init: 1 missing (psi_init.output.bias): take'),
    (WHOLE | {'feature_matching._temperature': torch.ones(1)},
     'matching: 1 of another shape (matching.temperature (1,) for ()): take'),
    (WHOLE | {'filtering_module.reg_iter.1.output.bias': torch.ones(1)},
     'filtering_module: 1 unexpected'),
    (WHOLE | {'filtering_module.reg_init.conv1.weight': torch.ones(128, 4, 1, 1)},
     'psi_init: 1 of another shape (psi_init.conv1.weight (128, 4, 1, 1) for (128, 6, 1, 1))'),
    (WHOLE | {'reg_init.output.bias': torch.ones(1)}, 'is there twice, as psi_init.output.bias'),
    (FCGF | {'norm1.bn.weight': torch.full((32,), torch.nan)},
     'phi.norm1.bn.weight has numbers that are not finite'),
    ({'layer.weight': torch.ones(3)}, 'no part of the network is there, but layer.weight: take'),
    ({}, 'no part of the network is there'),
])
def test_wrong_names_and_shapes_are_named(state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError) as caught:
        tensors = translated(state)
        check(tensors, infer_config(tensors, LmpcrConfig()))
    assert message in str(caught.value)


def test_what_is_wrong_in_a_file_is_said_with_its_name(tmp_path: Path) -> None:
    state = tiny_fcgf()
    del state['final.bias']
    path = write(tmp_path / 'part.pth', {'state_dict': state | {'a\x1b\n.b': torch.ones(3)}})
    with pytest.raises(InputError) as caught:
        read_weights_file(path)
    text = str(caught.value)
    assert f'{path}: ' in text and 'phi: 1 missing (phi.final.bias); a\\x1b' in text
    assert text.isprintable()


def test_only_whole_parts_are_saved(tmp_path: Path) -> None:
    state = Lmpcr(TINY).state_dict()
    del state['zeta.mlp.0.bias']
    with pytest.raises(InputError, match=r'zeta: 1 missing \(zeta\.mlp\.0\.bias\)'):
        save_weights(tmp_path / 'out', state, {'config': TINY.to_json(), 'source': ''})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('metadata', 'message'), [
    (None, 'is a safetensors file, but not of mvreg_ros'),
    ({'format': 'pt'}, 'is a safetensors file, but not of mvreg_ros'),
    ({'mvreg_ros': '{"version": 2}'}, 'has the format 2 of a newer mvreg_ros, this one reads 1'),
    ({'mvreg_ros': '{"version": 1}'}, "('config')"),
    ({'mvreg_ros': 'no json'}, 'nor a whole file of weights'),
    ({'mvreg_ros': '[]'}, 'nor a whole file of weights'),
    ({'mvreg_ros': '{"version": 1, "config": "{\\"width\\": 9e99}"}'}, 'nor a whole file'),
    ({'mvreg_ros': '{"version": 1, "config": "{}"}'}, 'no part of the network is there, but x'),
])
def test_other_safetensors_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None, message: str,
) -> None:
    path = tmp_path / 'other.safetensors'
    path.write_bytes(save({'x': torch.ones(3)}, metadata))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)
