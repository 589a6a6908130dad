# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Registration with pairs auto: the same map from fewer pairs, however often it is called."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mvreg_ros import MultiviewRegistration
from mvreg_ros.methods import consistency
from mvreg_ros.pairs.selection import LikelyPairs, SelectionConfig
from mvreg_ros.types import InputError, Registration, RegistrationCancelled
import numpy as np
import pytest
from results import assert_same_registration
from small_scene import fragments, VOXEL_SIZE
from tiny_network import write_weights

# Two fields, which have nothing to do with each other.
CLOUDS = [*fragments()[0], *fragments(1)[0]]
FEW = SelectionConfig(alike=2, leaving=1, rounds=2)


def pipeline(pairs: str = 'auto') -> MultiviewRegistration:
    """Return a pipeline for the fields, see test_register.py."""
    return MultiviewRegistration.from_pretrained(
        features='fpfh', voxel_size=VOXEL_SIZE, min_confidence=0.85, device='cpu', pairs=pairs)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let auto try few pairs, as with many fragments."""
    monkeypatch.setattr(consistency, 'LikelyPairs', partial(LikelyPairs, config=FEW))


@pytest.fixture(scope='module')
def everything() -> Registration:
    """Register all pairs."""
    return pipeline('all').register(CLOUDS)


def test_all_pairs_of_few_fragments_are_likely() -> None:
    """Each of five has no more than four others: the same bits as with all."""
    assert_same_registration(pipeline().register(CLOUDS[:5]), pipeline('all').register(CLOUDS[:5]))


def test_fewer_pairs_make_the_same_map(few: None, everything: Registration) -> None:
    """Two fields, five fragments each, none of one linked to the other."""
    found = pipeline().register(CLOUDS)
    assert len(everything.edges) == 45 and len(found.edges) < 35
    np.testing.assert_array_equal(found.component, everything.component)
    assert sorted(found.component.tolist()) == [0] * 5 + [1] * 5
    np.testing.assert_allclose(found.poses, everything.poses, atol=VOXEL_SIZE)
    pairs = list(zip(found.edges.i.tolist(), found.edges.j.tolist(), strict=True))
    assert pairs == sorted(set(pairs))


def test_what_was_computed_before_changes_nothing(few: None) -> None:
    """Fragment by fragment, all at once, and after others: bit for bit the same."""
    fresh = pipeline().register(CLOUDS[:8])
    registration = pipeline()
    for count in (3, 6, 8, 10):
        last = registration.register(CLOUDS[:count])
        if count == 8:
            assert_same_registration(last, fresh)
    assert_same_registration(registration.register(CLOUDS[:8]), fresh)


def test_progress_goes_on_from_round_to_round(few: None) -> None:
    """The pairs of all rounds are counted as those of one stage; it can be stopped in each."""
    told: list[tuple[int, int]] = []

    def note(stage: str, done: int, total: int) -> None:
        if stage == 'pairs' and done:
            told.append((done, total))

    found = pipeline().register(CLOUDS, note)
    assert [done for done, _ in told] == list(range(1, 1 + len(found.edges)))
    assert told[0][1] < told[-1][1] == len(found.edges)
    first = told[0][1]

    def cancel(stage: str, done: int, total: int) -> None:
        if stage == 'pairs' and done > first:
            raise RegistrationCancelled('cancelled')

    registration = pipeline()
    with pytest.raises(RegistrationCancelled):
        registration.register(CLOUDS, cancel)
    assert_same_registration(registration.register(CLOUDS), found)


def test_the_words_are_for_the_weights_in_the_package() -> None:
    """If this fails after phi has changed: python -m tools.train_vocabulary makes new ones."""
    method = MultiviewRegistration.from_pretrained(pairs='auto', device='cpu').method
    assert isinstance(method, consistency.ConsistencyMethod)
    assert method.vocabulary is not None and method.vocabulary.words.shape == (256, 96)
    assert method.vocabulary.weights.mean() == pytest.approx(1, abs=1e-5)


def test_descriptors_without_words_are_refused(tmp_path: Path) -> None:
    """And so is a method that cannot choose."""
    path = tmp_path / 'tiny.safetensors'
    write_weights(path, VOXEL_SIZE)
    other = {'features': 'fcgf', 'weights': str(path), 'voxel_size': VOXEL_SIZE, 'pairs': 'auto'}
    with pytest.raises(InputError, match=r'pairs auto knows .* no others: set pairs to all'):
        MultiviewRegistration.from_pretrained(**other)
    with pytest.raises(InputError, match='method lmpcr registers all pairs: set pairs to all'):
        MultiviewRegistration.from_pretrained(**other, method='lmpcr')
