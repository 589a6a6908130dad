# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fragments that are left out: of the result, of no other, and not for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros import MultiviewRegistration
from mvreg_ros.exclusion import parse_ids, register_without
from mvreg_ros.types import Fragment, InputError, Registration
import numpy as np
import pytest
from results import assert_same_registration
from small_scene import fragments, VOXEL_SIZE

CLOUDS, _ = fragments()
FRAGMENTS = [Fragment(cloud, id=k, name=f'fragment_{k:04d}') for k, cloud in enumerate(CLOUDS)]


def pipeline() -> MultiviewRegistration:
    return MultiviewRegistration.from_pretrained(
        features='fpfh', voxel_size=VOXEL_SIZE, device='cpu')


@pytest.mark.parametrize(('text', 'expected'), [
    ('', set()), (' ', set()), ('3', {3}), ('3-3', {3}), ('3 7 12-15', {3, 7, 12, 13, 14, 15}),
    ('3,7, 12-13', {3, 7, 12, 13}), ('5 4-6 0005', {4, 5, 6}), ('999999', {999999}),
])
def test_ids_and_ranges(text: str, expected: set[int]) -> None:
    assert parse_ids(text) == expected


@pytest.mark.parametrize('text', [
    'three', '-1', '1-', '4-3', '1.5', '1000000', '9' * 5000, '0-9999999', '1--2', '٣'])
def test_what_names_no_ids_is_refused(text: str) -> None:
    with pytest.raises(InputError, match='write such as 3 7 12-15'):
        parse_ids(f'0 {text}')


@pytest.mark.parametrize('text', ['0-999999 0', '0-999999 ' * 200, '0-999999,' * 10**6])
def test_more_ids_than_there_can_be_are_refused(text: str) -> None:
    with pytest.raises(InputError, match='more than 1000000 ids are named: name each once'):
        parse_ids(text)


@given(st.text() | st.text('0123456789- ,'))
def test_any_text_names_ids_or_is_refused(text: str) -> None:
    try:
        assert all(0 <= id < 10**6 for id in parse_ids(text))
    except InputError as error:
        assert len(str(error).splitlines()) == 1


@pytest.fixture(scope='module')
def everything() -> Registration:
    """Return the registration of all fragments."""
    return pipeline().register(FRAGMENTS)


def test_the_others_are_registered_as_if_they_were_alone(everything: Registration) -> None:
    found = register_without(pipeline(), FRAGMENTS, {0, 3})
    rows = np.array([1, 2, 4])
    alone = pipeline().register([FRAGMENTS[k] for k in rows])
    assert found.placed.tolist() == [False, True, True, False, True]
    assert found.component.tolist() == [-1, 0, 0, -1, 0]
    assert found.reason.tolist() == ['excluded', '', '', 'excluded', '']
    assert np.isnan(found.poses[[0, 3]]).all() and np.isnan(found.covariances[[0, 3]]).all()
    np.testing.assert_array_equal(found.poses[rows], alone.poses)
    np.testing.assert_array_equal(found.covariances[rows], alone.covariances)
    pairs = list(zip(found.edges.i.tolist(), found.edges.j.tolist(), strict=True))
    assert pairs == [(1, 2), (1, 4), (2, 4)]
    np.testing.assert_array_equal(found.edges.T_i_j, alone.edges.T_i_j)
    # What the sensors say of a pair does not depend on who else is there.
    both = {(i, j): k for k, (i, j) in enumerate(
        zip(everything.edges.i.tolist(), everything.edges.j.tolist(), strict=True))}
    rows = np.array([both[pair] for pair in pairs])
    np.testing.assert_array_equal(found.edges.inliers, everything.edges.inliers[rows])


def test_nobody_excluded_is_the_registration_of_all(everything: Registration) -> None:
    assert_same_registration(register_without(pipeline(), FRAGMENTS, ()), everything)


def test_a_fragment_that_cannot_be_used_can_be_excluded() -> None:
    bad = Fragment(np.full((50, 3), np.nan, np.float32))
    with pytest.raises(InputError, match='not finite'):
        register_without(pipeline(), [*FRAGMENTS[:2], bad], ())
    assert register_without(pipeline(), [*FRAGMENTS[:2], bad], {2}).placed[:2].all()


@pytest.mark.parametrize(('excluded', 'message'), [
    ({0, 1, 2, 3}, '1 of 5 fragments are left, two are needed: exclude fewer'),
    ({5}, 'no fragment has the id 5, there are 0 to 4: exclude others'),
])
def test_what_cannot_be_excluded_is_refused(excluded: set[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        register_without(pipeline(), FRAGMENTS, excluded)
