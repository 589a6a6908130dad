# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints in all their formats become weights that our networks take."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import re

from mvreg_ros.features.cylinder_network import CylinderConfig
from mvreg_ros.features.fcgf import FcgfConfig, ResUNetBN2C
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.pairwise.registration_block import RegistrationBlock
from mvreg_ros.pairwise.soft_matching import SoftNearestNeighbors
from mvreg_ros.types import InputError
from mvreg_ros.weights.conversion import merged, read_weights_file, WeightsFile
from mvreg_ros.weights.files import load_weights, save_weights
from mvreg_ros.weights.layout import parameter_counts
from published_weights import (
    FCGF_SHAPES,
    JOINT_SHAPES,
    pairwise_file,
    PARAMETERS,
    random_state,
    write,
    zoo_file,
)
import pytest
from safetensors.torch import save
import torch
from torch import nn, Tensor

TINY = LmpcrConfig(
    fcgf=FcgfConfig(encoder=(2, 3, 4, 5), decoder=(3, 4, 5, 6), conv1_kernel_size=5),
    voxel_size=0.05, points=100, width=6, clusters=7, straight_through=False)
CYLINDER = replace(
    TINY, features='cylinder', cylinder=CylinderConfig(radii=(9.0,), hidden=(4,), similarity=0.6))


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


def own_file(path: Path, part: str, config: LmpcrConfig, **texts: str) -> WeightsFile:
    """Return a part of a network from a file of our own."""
    tensors = {name: t for name, t in Lmpcr(config).state_dict().items() if name.startswith(part)}
    save_weights(path, tensors, {'config': config.to_json(), **texts})
    return read_weights_file(path)


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes in the state dict of a module."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


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
    assert len(file.tensors) == 464 and parameter_counts(file.tensors) == PARAMETERS
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


def test_a_bare_state_dict_of_a_parallel_module_is_read(tmp_path: Path) -> None:
    state = tiny_fcgf()
    file = read_weights_file(write(
        tmp_path / 'bare.pt', {f'module.{name}': tensor for name, tensor in state.items()}))
    assert file.container == 'torch zip'
    assert_same(inner(file.tensors, 'phi'), state)


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
    files = [own_file(tmp_path / 'phi', 'phi', TINY),
             own_file(tmp_path / 'psi', 'psi', replace(TINY, voxel_size=0.1))]
    with pytest.raises(InputError, match=r'different voxels \(0\.05 m, 0\.1 m\)'):
        merged(files)


@pytest.mark.parametrize('order', [1, -1])
def test_phi_brings_what_no_shape_tells(tmp_path: Path, order: int) -> None:
    """Whichever file comes first; the published one knows nothing of cylinders."""
    phi = own_file(tmp_path / 'phi', 'phi', CYLINDER, steps='9', source='mvreg train')
    blocks = read_weights_file(write(tmp_path / 'best.pt', pairwise_file(tiny_blocks())))
    weights = merged([phi, blocks][::order])
    assert weights.config == CYLINDER
    assert weights.metadata['steps'] == '9'
    assert weights.metadata['source'] == ', '.join(['mvreg train', 'best.pt'][::order])


def test_what_is_known_of_two_trainings_is_not_mixed(tmp_path: Path) -> None:
    phi = own_file(tmp_path / 'phi', 'phi', CYLINDER, steps='9')
    psi = own_file(tmp_path / 'psi', 'psi', CYLINDER, steps='7')
    assert merged([phi]).metadata == {
        'config': CYLINDER.to_json(), 'steps': '9', 'source': 'phi'}
    assert merged([phi, psi]).metadata == {'config': CYLINDER.to_json(), 'source': 'phi, psi'}


@pytest.mark.parametrize('other', [
    TINY, replace(CYLINDER, cylinder=replace(CYLINDER.cylinder, radii=(8.0,)))])
def test_parts_for_different_descriptors_are_not_merged(
    tmp_path: Path, other: LmpcrConfig
) -> None:
    phi = own_file(tmp_path / 'phi', 'phi', CYLINDER)
    psi = own_file(tmp_path / 'psi', 'psi', other)
    for files in ([phi, psi], [psi, phi]):
        with pytest.raises(InputError, match='for different descriptors: give files that belong'):
            merged(files)


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


def test_one_changed_number_is_noticed(tmp_path: Path) -> None:
    """The last bit of the file is another, which no shape tells."""
    path = tmp_path / 'weights.safetensors'
    save_weights(path, Lmpcr(TINY).state_dict(), {'config': TINY.to_json(), 'source': 'x'})
    load_weights(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match='holds other numbers than were written'):
        load_weights(path)


def test_a_file_without_a_checksum_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / 'weights.safetensors'
    text = json.dumps({'version': 1, 'config': TINY.to_json(), 'source': 'x'})
    path.write_bytes(save(Lmpcr(TINY).state_dict(), {'mvreg_ros': text}))
    with pytest.raises(InputError, match='before files had a checksum: train or convert it again'):
        load_weights(path)


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
