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
from mvreg_ros.methods.learned import LearnedMethod
from mvreg_ros.methods.pretrained import load_pretrained, SHIPPED
from mvreg_ros.pairwise.evidence import counted, EvidenceNetwork, NAMES
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
    blocks = json.loads(metadata['before'])
    confidence = json.loads(blocks['phi'])
    descriptor = json.loads(confidence['phi'])
    for stage, figure in ((metadata, 'mutual_inlier_ratio'), (blocks, 'recall'),
                          (confidence, 'pooled'), (descriptor, 'mutual_inlier_ratio')):
        for name in ('source', 'commit', 'scenes', 'fragments', 'hours', figure):
            assert stage[name], name


def test_the_method_of_the_paper_runs_with_the_weights_in_the_box() -> None:
    method = MultiviewRegistration.from_pretrained(method='lmpcr', device='cpu').method
    assert isinstance(method, LearnedMethod)
    held = load_weights(SHIPPED).tensors
    for name, tensor in method.network.state_dict().items():
        assert torch.equal(tensor, held[name]), name


def test_the_weights_in_the_box_are_used() -> None:
    """The descriptor is the learned one, bit for bit that of the file."""
    method = MultiviewRegistration.from_pretrained(features='cylinder', device='cpu').method
    assert isinstance(method, ConsistencyMethod)
    assert isinstance(method.descriptor, CylinderDescriptor)
    assert method.register_pair.min_similarity == load_weights(SHIPPED).config.cylinder.similarity
    held = load_weights(SHIPPED).tensors
    for name, tensor in method.descriptor.network.state_dict().items():
        assert torch.equal(tensor, held[f'phi.{name}']), name


def test_a_learned_confidence_is_used_where_the_file_has_one(tmp_path: Path) -> None:
    """Phi of the box with a confidence beside it, which then judges together with the count."""
    torch.manual_seed(0)
    weights, zeta = load_weights(SHIPPED), EvidenceNetwork()
    zeta.platt.copy_(torch.tensor([2.0, 0.5]))
    tensors = {**weights.tensors,
               **{f'evidence.{name}': tensor for name, tensor in zeta.state_dict().items()}}
    path = tmp_path / 'both.safetensors'
    save_weights(path, tensors, weights.metadata)
    method = MultiviewRegistration.from_pretrained(
        features='cylinder', weights=str(path), device='cpu').method
    assert isinstance(method, ConsistencyMethod)
    evidence = 1 + torch.rand(20, len(NAMES))
    torch.testing.assert_close(
        method.register_pair.zeta(evidence), zeta(evidence) + counted(evidence) + 0.5)


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
    ({'features': 'cylindre'}, 'features must be one of cylinder, fpfh, fcgf'),
])
def test_choices_that_do_not_go_together_are_named(
    parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        MultiviewRegistration.from_pretrained(**parameters)
