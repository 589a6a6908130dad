# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The weights in the box: what they hold, where they come from, and that they are used."""

from __future__ import annotations

import json
from pathlib import Path

from mvreg_ros import MultiviewRegistration
from mvreg_ros.features.cylinder_descriptor import CylinderDescriptor
from mvreg_ros.features.descriptor import FpfhDescriptor
from mvreg_ros.lmpcr import Lmpcr, LmpcrConfig
from mvreg_ros.methods.consistency import ConsistencyMethod
from mvreg_ros.methods.pretrained import load_pretrained, SHIPPED
from mvreg_ros.pairwise.evidence import counted, EvidenceNetwork
from mvreg_ros.types import InputError
from mvreg_ros.weights.files import load_weights, save_weights
import pytest
import torch

MAX_BYTES = 20_000_000


def test_the_box_is_small_and_says_where_its_weights_come_from() -> None:
    """Under 20 MB in all; the seed, the data, the settings and the figures stand in the file."""
    assert sum(path.stat().st_size for path in SHIPPED.parent.glob('*.safetensors')) < MAX_BYTES
    metadata = load_weights(SHIPPED).metadata
    training = json.loads(metadata['training'])
    assert training['loop']['steps'] >= int(metadata['step']) > 0
    for name in ('source', 'commit', 'version', 'scenes', 'fragments', 'poses', 'hours', 'phi'):
        assert metadata[name], name


def test_without_any_parameter_the_weights_in_the_box_are_used() -> None:
    """The descriptor and the confidence are the learned ones, bit for bit those of the file."""
    method = MultiviewRegistration.from_pretrained(device='cpu').method
    assert isinstance(method, ConsistencyMethod)
    assert isinstance(method.descriptor, CylinderDescriptor)
    assert isinstance(method.register_pair.zeta, EvidenceNetwork)
    held = load_weights(SHIPPED).tensors
    for name, tensor in method.descriptor.network.state_dict().items():
        assert torch.equal(tensor, held[f'phi.{name}']), name
    for name, tensor in method.register_pair.zeta.state_dict().items():
        assert torch.equal(tensor, held[f'evidence.{name}']), name


def test_features_fpfh_need_no_weights() -> None:
    """Nothing learned is left: FPFH, all mutual matches, counted evidence."""
    method = MultiviewRegistration.from_pretrained(features='fpfh').method
    assert isinstance(method, ConsistencyMethod)
    assert isinstance(method.descriptor, FpfhDescriptor)
    assert method.register_pair.zeta is counted
    assert method.register_pair.min_similarity == -1


def test_weights_without_a_confidence_count_inliers(tmp_path: Path) -> None:
    """A file of the first stage alone can be used."""
    config = LmpcrConfig(features='cylinder')
    path = tmp_path / 'phi.safetensors'
    phi = {name: tensor for name, tensor in Lmpcr(config).state_dict().items()
           if name.startswith('phi.')}
    save_weights(path, phi, {'config': config.to_json(), 'source': 'random'})
    pretrained = load_pretrained(str(path), 'cylinder', ('phi',))
    assert pretrained.zeta is counted
    with pytest.raises(InputError, match='holds features cylinder: set features to cylinder'):
        load_pretrained(str(path), 'fcgf', ('phi',))


@pytest.mark.parametrize(('parameters', 'message'), [
    ({'features': 'fcgf'}, 'features fcgf needs weights, which are not in the package'),
    ({'features': 'fpfh', 'method': 'lmpcr'}, 'method lmpcr learns on learned features'),
    ({'features': 'fpfh', 'weights': 'x'}, 'features fpfh have no weights'),
    ({'method': 'lmpcr'}, 'the weights in the package have no psi_init and no psi_iter'),
    ({'features': 'cylindre'}, 'features must be one of cylinder, fpfh, fcgf'),
])
def test_choices_that_do_not_go_together_are_named(
    parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        MultiviewRegistration.from_pretrained(**parameters)
