# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are no weights, damaged or hostile end in one line; nothing in them is run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
import os
from pathlib import Path
import pickle
import re
import zipfile

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
from mvreg_ros.features.fcgf import FcgfConfig, ResUNetBN2C
from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.types import InputError
from mvreg_ros.weights.conversion import read_weights_file
from mvreg_ros.weights.files import load_weights, save_weights
from published_weights import easydict_installed, random_state, write, zoo_file
import pytest
import torch
from torch import Tensor

# So small that most of a file is structure.
SMALL = FcgfConfig(encoder=(1, 1, 1, 1), decoder=(1, 1, 1, 1), out_channels=1,
                   conv1_kernel_size=3)


def small_state() -> OrderedDict[str, Tensor]:
    """Return the weights of a very small FCGF."""
    return random_state({
        name: tuple(tensor.shape) for name, tensor in ResUNetBN2C(SMALL).state_dict().items()})


def refusal(path: Path) -> str:
    """Return why a file is refused, in one line that names it."""
    with pytest.raises(InputError) as caught:
        read_weights_file(path)
    text = str(caught.value)
    assert str(path) in text and text.isprintable()
    return text


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        """Keep what is to be called."""
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        """Have the call made where the pickle is read."""
        return self.call


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('place', ['state_dict', 'model', 'config', 'a weight', 'everything'])
@pytest.mark.parametrize(('function', 'argument', 'name'), [
    (os.system, 'touch {}', f'{os.system.__module__}.system'),
    (eval, "__import__('os').system('touch {}')", '__builtin__.eval'),
    (exec, "import os; os.system('touch {}')", '__builtin__.exec'),
    (open, '{}', 'io.open'),
])
def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, legacy: bool, place: str, function: Callable, argument: str, name: str,
) -> None:
    trace = tmp_path / 'trace'
    arguments = (str(trace), 'w') if function is open else (argument.format(trace),)
    call = Call(function, *arguments)
    content: object = zoo_file(small_state())
    if place == 'everything':
        content = call
    elif place == 'a weight':
        content['state_dict']['norm1.bn.bias'] = call
    else:
        content[place] = call
    path = write(tmp_path / 'evil.pth', content, legacy)
    assert f'it asks for {name}, which no weights need' in refusal(path)
    assert not trace.exists()
    with easydict_installed():
        torch.load(path, weights_only=False)
    assert trace.exists()  # it would have been


class Crafted:
    """Pickled as a tensor of four numbers with any view of them."""

    def __init__(self, offset: object, shape: object, stride: object) -> None:
        """Keep what the view is to be."""
        self.view = offset, shape, stride

    def __reduce__(self) -> tuple:
        """Have the tensor made where the pickle is read."""
        storage = torch.ones(4).storage()
        return torch._utils._rebuild_tensor_v2, (storage, *self.view, False, OrderedDict())


@pytest.mark.filterwarnings('ignore:TypedStorage is deprecated')
@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(('tensor', 'reason'), [
    (Crafted(0, (5,), (1,)), 'larger than its storage'),
    (Crafted(1, (4,), (1,)), 'larger than its storage'),
    (Crafted(0, (2, 2), (3, 1)), 'larger than its storage'),
    (Crafted(0, (2,), (2**62,)), 'larger than its storage'),
    (Crafted(2**62, (1,), (1,)), 'larger than its storage'),
    (Crafted(-1, (2,), (1,)), 'the shape of a tensor is broken'),
    (Crafted(3, (2,), (-1,)), 'the shape of a tensor is broken'),
    (Crafted(0, (2.0,), (1,)), 'the shape of a tensor is broken'),
    (Crafted(0, (2, 2), (1,)), 'shorter than'),
    (Crafted(0, (10**6, 10**6), (0, 0)), 'its tensors are larger than the file'),
    (Crafted('0', 7, None), "'int' object is not iterable"),
])
def test_tensors_stay_within_their_numbers(
    tmp_path: Path, tensor: Crafted, reason: str, legacy: bool,
) -> None:
    path = write(tmp_path / 'evil.pth', {'conv1.kernel': tensor}, legacy)
    assert reason in refusal(path)


@pytest.mark.parametrize(('pickled', 'reason'), [
    # A memory of 16 million places for one object.
    (b'\x80\x02}r\x00\x00\x00\x01.', 'it has LONG_BINPUT 16777216'),
    (b'\x80\x02}p16777216\n.', 'it has PUT 16777216'),
    # Attributes for the class of dictionaries, and for the function that makes tensors.
    (b'\x80\x02ccollections\nOrderedDict\nN}X\x03\x00\x00\x00popK\x01s\x86b.', 'immutable type'),
    (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00__code__Ns\x86b.',
     "'method' object"),
    (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}K\x01K\x02K\x03t}(K\x01K\x02K\x03tR.',
     'pickle'),
    (b'\x80\x02(U\x07storageK\x00U\x010U\x03cpuK\x04NtQ.', 'of an unknown kind'),
    (b'\x80\x02(U\x07storagectorch\nFloatStorage\nK\x00U\x03cpuK\x04NtQ.',
     'a storage is broken'),
    (b'\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00}.', 'it has FRAME'),
    (b'\x80\x02cos\nsystem\x00\n.', 'it asks for os.system'),
    (b'\x80\x02].', 'it holds no names'),
    (b'\x80\x02}U\x01aK\x01s.', "its entry 'a' is no tensor"),
    (b'\x80\x02}U\x05modelK\x01s.', "its entry 'model' is no tensor"),
    (b'', 'pickle exhausted'),
])
def test_hostile_pickles_are_refused(tmp_path: Path, pickled: bytes, reason: str) -> None:
    path = tmp_path / 'evil.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('evil/data.pkl', pickled)
    assert reason in refusal(path)


def test_archives_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'evil.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    assert 'it has no data.pkl' in refusal(path)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', bytes(10**6))
    assert 'data.pkl is compressed' in refusal(path)
    write(path, small_state())
    with zipfile.ZipFile(path, 'a') as archive:
        archive.writestr('second/data.pkl', b'')
    assert 'it has no data.pkl' in refusal(path)


def test_numbers_of_a_big_endian_machine_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / 'big.pth', small_state(), legacy=True)
    data = path.read_bytes()
    big = re.sub(rb'(?<=little_endianq.)\x88', b'\x89', data, count=1, flags=re.DOTALL)
    assert big != data
    path.write_bytes(big)
    assert 'it comes from a big-endian machine' in refusal(path)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('big/data.pkl', b'\x80\x02}.')
        archive.writestr('big/byteorder', b'big')
    assert 'it comes from a big-endian machine' in refusal(path)


@pytest.mark.parametrize(('content', 'reason'), [
    (b'', 'header too small'),
    (b'hello\n', 'header too small'),
    (b'{"weights": "are text"}' * 100, 'nor a whole file of weights'),
    (pickle.dumps({'state_dict': {}}), 'nor a whole file of weights'),
    (b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.', 'pickle exhausted'),
    (b'PK\x03\x04', 'not a zip file'),
])
def test_other_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    assert reason in refusal(path)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    assert 'cannot be read: No such file' in refusal(tmp_path / 'nothing.pth')
    assert 'cannot be read: Is a directory' in refusal(tmp_path)


def test_a_checkpoint_is_not_loaded_before_it_is_converted(tmp_path: Path) -> None:
    path = write(tmp_path / 'zoo.pth', zoo_file(small_state()))
    with pytest.raises(InputError, match=r'mvreg weights convert .*zoo\.pth --out'):
        load_weights(path)


@pytest.fixture(scope='module')
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return a small file of each format."""
    folder, state = tmp_path_factory.mktemp('originals'), small_state()
    ours = folder / 'safetensors'
    save_weights(ours, {f'phi.{name}': tensor for name, tensor in state.items()},
                 {'config': LmpcrConfig(fcgf=SMALL).to_json(), 'source': ''})
    paths = [write(folder / 'zip', zoo_file(state)), write(folder / 'old', zoo_file(state), True)]
    for path in [*paths, ours]:
        assert len(read_weights_file(path).tensors) == 129
    return [path.read_bytes() for path in [*paths, ours]]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.integers(0, 2), end=st.floats(0, 1, exclude_max=True))
def test_what_is_cut_short_is_refused(
    originals: list[bytes], tmp_path: Path, kind: int, end: float,
) -> None:
    data = originals[kind]
    path = tmp_path / 'cut.pth'
    path.write_bytes(data[:int(end * len(data))])
    refusal(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.integers(0, 2), places=st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_what_is_damaged_is_refused_or_only_other_numbers(
    originals: list[bytes], tmp_path: Path, kind: int, places: list[tuple[float, int]],
) -> None:
    data = bytearray(originals[kind])
    for place, change in places:
        data[int(place * len(data))] ^= change
    path = tmp_path / 'damaged.pth'
    path.write_bytes(data)
    try:
        file = read_weights_file(path)
    except InputError as error:
        assert str(path) in str(error) and str(error).isprintable()
    else:
        assert file.config.fcgf == SMALL and len(file.tensors) == 129
