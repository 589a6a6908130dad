# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Names and shapes of weights: what is known, and how what is wrong is told."""

from __future__ import annotations

from collections.abc import Callable
import re

from mvreg_ros.features.fcgf import FcgfConfig
from mvreg_ros.lmpcr import LmpcrConfig
from mvreg_ros.types import InputError
from mvreg_ros.weights.layout import check, infer_config, parameter_counts, translated
from published_weights import (
    block_shapes,
    FCGF_SHAPES,
    fcgf_shapes,
    JOINT_SHAPES,
    PARAMETERS,
    REGISTRATION_SHAPES,
)
import pytest
import torch
from torch import Tensor


def of_no_size(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return tensors of these shapes that need no memory."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(('rename', 'shapes', 'parts'), [
    (str, FCGF_SHAPES, {'phi'}),
    (lambda name: f'module.{name}', FCGF_SHAPES, {'phi'}),
    (str, REGISTRATION_SHAPES, {'psi_init', 'psi_iter'}),
    (lambda name: f'module.{name}', JOINT_SHAPES, set(PARAMETERS)),
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
    assert parameter_counts(tensors) == {part: PARAMETERS[part] for part in parts}


@pytest.mark.parametrize(('taps', 'size', 'out'), [(125, 5, 32), (343, 7, 16), (27, 3, 64)])
def test_sizes_are_those_of_the_shapes(taps: int, size: int, out: int) -> None:
    tensors = translated(of_no_size(fcgf_shapes(taps, out)))
    config = infer_config(tensors, LmpcrConfig())
    assert config.fcgf == FcgfConfig(conv1_kernel_size=size, out_channels=out)
    check(tensors, config)


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
