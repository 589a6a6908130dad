# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A first look tells pairs that overlap from others, from a view of few keypoints."""

from __future__ import annotations

from itertools import combinations

from mvreg_ros.features.descriptor import FpfhDescriptor
from mvreg_ros.pairs.first_look import KEYPOINTS, TakeALook, thinned
from mvreg_ros.types import Fragment, FragmentFeatures
import numpy as np
import pytest
from small_scene import fragments, VOXEL_SIZE
import torch

INLIER_DISTANCE = 4 * VOXEL_SIZE


@pytest.fixture(scope='module')
def described() -> list[FragmentFeatures]:
    """Return the fragments of two fields, five of each."""
    descriptor = FpfhDescriptor(VOXEL_SIZE, torch.device('cpu'))
    return [descriptor(Fragment(cloud)) for cloud in (*fragments()[0], *fragments(1)[0])]


def test_fragments_of_one_field_have_more_inliers_than_of_two(
    described: list[FragmentFeatures],
) -> None:
    look = TakeALook(described, INLIER_DISTANCE)
    neighbors = [look((first + k, first + k + 1)).inliers for first in (0, 5) for k in range(4)]
    strangers = [look((i, j)).inliers for i, j in combinations(range(10), 2) if i < 5 <= j]
    assert np.greater.outer(neighbors, strangers).mean() > 0.8


def test_a_fragment_and_itself_agree_in_all_that_is_looked_at(
    described: list[FragmentFeatures],
) -> None:
    few = thinned(described[0])
    assert TakeALook(described, INLIER_DISTANCE)((0, 0)).inliers == len(few.points)


@pytest.mark.parametrize('count', [0, 1, KEYPOINTS, KEYPOINTS + 1, 5 * KEYPOINTS - 1])
def test_thinned_features_are_a_view_of_few(count: int) -> None:
    points = torch.arange(3.0 * count).reshape(-1, 3)
    few = thinned(FragmentFeatures(points, points, points, torch.zeros(3)))
    assert KEYPOINTS / 2 < len(few.points) <= KEYPOINTS or len(few.points) == count
    assert few.points.data_ptr() == points.data_ptr()
    step = max(1, -(-count // KEYPOINTS))
    assert torch.equal(few.descriptors, points[::step])
