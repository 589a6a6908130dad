# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is accepted can be registered and stored."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from mvreg_ros.data.acceptance import FARTHEST, thinned
from mvreg_ros.data.stamps import nanoseconds_from_stamp
from mvreg_ros.refusal import Refusal
from mvreg_ros.register import as_fragment
from mvreg_ros.session.stored import STAMPS
from mvreg_ros.types import Fragment, InputError, MAX_COORDINATE
import numpy as np
import pytest


@pytest.mark.parametrize(('sec', 'nanosec'), [(-1, 5), (-2**31, 0), (0, 10**9), (-1, 2**32 - 1)])
def test_a_stamp_that_no_clock_gives_is_refused(sec: int, nanosec: int) -> None:
    with pytest.raises(Refusal, match=r'bad_stamp: .*sec at 0 or more'):
        nanoseconds_from_stamp(Time(sec=sec, nanosec=nanosec))


@pytest.mark.parametrize('stamp', [Time(), Time(sec=2**31 - 1, nanosec=10**9 - 1)])
def test_a_stamp_that_is_accepted_can_be_stored(stamp: Time) -> None:
    assert nanoseconds_from_stamp(stamp) in STAMPS


@pytest.mark.parametrize('voxel_size', [0.01, 0.1, 1.0])
@pytest.mark.parametrize('name', ['points', 'sensor_origin'])
def test_the_limit_is_that_of_a_registration(voxel_size: float, name: str) -> None:
    limit = min(FARTHEST * voxel_size, MAX_COORDINATE)
    for share in (0.999, 1.001):
        values = {'points': np.zeros((5, 3), np.float32), 'sensor_origin': np.zeros(3, np.float32)}
        values[name][-1] = -share * limit
        fragment = Fragment(**values)
        if share < 1:
            as_fragment(thinned(fragment, lambda given: given, voxel_size), 0)
            continue
        with pytest.raises(Refusal, match=f'too_far: .* the limit is {limit:g} m'):
            thinned(fragment, lambda given: given, voxel_size)
        if limit == MAX_COORDINATE:
            with pytest.raises(InputError, match='10000 m'):
                as_fragment(fragment, 0)
