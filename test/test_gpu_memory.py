# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a GPU has no memory left; what it would raise is raised from inside the methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mvreg_ros import MultiviewRegistration
from mvreg_ros.gpu_memory import in_halves
from mvreg_ros.types import Fragment, FragmentFeatures, InputError
from node_session import session, views, VOXEL_SIZE
import numpy as np
import pytest
from small_scene import fragments
from tiny_network import write_weights
import torch
from torch import Tensor

SHORTAGE = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')


@pytest.mark.parametrize('room', [1, 2, 3, 8])
def test_a_batch_is_halved_until_it_fits(room: int) -> None:
    sizes = []

    def doubled(x: Tensor, y: Tensor) -> Tensor:
        if len(x) > room:
            raise SHORTAGE
        sizes.append(len(x))
        return 2 * x + y

    x = torch.arange(7)
    torch.testing.assert_close(torch.cat(in_halves(doubled, x, 10 * x)), 12 * x)
    assert max(sizes) <= room and (room < 7 or sizes == [7])


def test_what_does_not_fit_alone_is_raised() -> None:
    def fail(x: Tensor) -> None:
        raise SHORTAGE

    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_halves(fail, torch.arange(4))


def test_the_learned_method_takes_smaller_batches_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_weights(tmp_path / 'tiny.safetensors', VOXEL_SIZE)
    registration = MultiviewRegistration.from_pretrained(
        method='lmpcr', features='fcgf', weights=str(tmp_path / 'tiny.safetensors'),
        voxel_size=VOXEL_SIZE, min_confidence=0.0, refine=False)
    clouds, _ = fragments()
    expected = registration.register(clouds)
    block, refused = type(registration.method.network.psi_init).forward, []

    def forward(self: Any, *batch: Any) -> Any:
        if len(batch[0]) > 2:
            refused.append(len(batch[0]))
            raise SHORTAGE
        return block(self, *batch)

    monkeypatch.setattr(type(registration.method.network.psi_init), 'forward', forward)
    found = registration.register(clouds)
    assert set(refused) == {4}
    # Products of other sizes are rounded otherwise. The network amplifies that, on some processors
    # to 0.2 mm.
    np.testing.assert_allclose(found.edges.T_i_j, expected.edges.T_i_j, atol=1e-3)


def test_the_node_says_what_to_do_and_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    with session() as running:
        method = type(running.node._registration.method.descriptor)
        describe = method.__call__

        def fail(self: Any, fragment: Fragment) -> FragmentFeatures:
            raise SHORTAGE

        monkeypatch.setattr(method, '__call__', fail)
        running.publish(views(3))
        answer = running.call('~/register')
        assert not answer.success
        assert answer.message.startswith('the GPU has not enough memory: raise voxel_size')
        assert answer.message.endswith('(CUDA out of memory. Tried to allocate 2.00 GiB.)')
        monkeypatch.setattr(method, '__call__', describe)
        assert running.call('~/register').success


def test_the_library_raises_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    registration = MultiviewRegistration.from_pretrained(
        features='fpfh', voxel_size=VOXEL_SIZE, device='cpu')

    def fail(*_: object) -> None:
        raise SHORTAGE

    monkeypatch.setattr(registration.method, 'solve', fail)
    with pytest.raises(InputError, match='set device to cpu'):
        registration.register(views(2))
