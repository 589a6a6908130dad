# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which pairs are chosen: known answers, a brute-force twin, and what always holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from mvreg_ros.cache import MemoryCache
from mvreg_ros.multiview.pose_graph import Synchronization, synchronize
from mvreg_ros.pairs.match_kernel import aggregated, likeness
from mvreg_ros.pairs.overlap import distinct, overlapping, overlapping_by_priors, overlaps
from mvreg_ros.pairs.ranking import Pair, strongest
from mvreg_ros.pairs.selection import EachWithEach, LikelyPairs, SelectionConfig
from mvreg_ros.pairs.vocabulary import Vocabulary
from mvreg_ros.parallel import Threads
from mvreg_ros.types import Edges, FirstLook, Fragment, FragmentFeatures, PairRegistration
import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

VOXEL_SIZE = 0.0125
# A point in the middle of each of ten times ten times ten cells of eight voxels.
BOX = (0.1 * np.indices((10, 10, 10)).reshape(3, -1).T + 0.05).astype(np.float32)


def described(points: np.ndarray, descriptors: torch.Tensor) -> FragmentFeatures:
    """Return features with points (N, 3) and descriptors (N, D)."""
    xyz = torch.from_numpy(np.asarray(points, np.float32))
    return FragmentFeatures(xyz, xyz, descriptors, torch.zeros(3))


def random_descriptors(count: int, seed: int) -> torch.Tensor:
    """Return (count, 8) descriptors of unit length."""
    return normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def at(*places: float) -> np.ndarray:
    """Return (S, 4, 4) poses along x."""
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    poses[:, 0, 3] = places
    return poses


def test_likeness_is_the_match_kernel() -> None:
    """Against a loop over words and descriptors."""
    words = random_descriptors(5, 0)
    projection = random_descriptors(8, 1)[:, :6]
    sets = [random_descriptors(count, count) for count in (30, 3, 40)]
    vectors = []
    for descriptors in sets:
        sums = np.zeros((5, 8))
        for d in descriptors.numpy().astype(float):
            k = np.square(words.numpy() - d).sum(1).argmin()
            sums[k] += d - words[k].numpy()
        sums = sums @ projection.numpy()
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        vectors.append(np.divide(sums, length, out=np.zeros_like(sums), where=length > 0))
    weights = [0.5, 2.0, 1.5, 0.0, 1.0]
    expected = [[sum(w * (a[k] @ b[k]) ** 5 for k, w in enumerate(weights)) / 5
                 for b in vectors] for a in vectors]
    found = likeness(
        [described(np.zeros((len(d), 3)), d) for d in sets],
        Vocabulary(words, projection, torch.tensor(weights), '', ''), Threads(1), MemoryCache())
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.diag(found)[0] == pytest.approx(1)
    assert np.diag(found)[1] < 0.7  # three descriptors have three words of five at the most


def test_what_is_known_by_one_vocabulary_is_not_by_another() -> None:
    """The same words, another projection."""
    cache = MemoryCache()
    fragments = [replace(described(np.zeros((9, 3)), random_descriptors(9, k)), key=str(k))
                 for k in range(3)]
    words, weights = random_descriptors(5, 4), torch.ones(5)
    first, second = (
        [likeness(fragments, Vocabulary(words, projection, weights, '', ''), Threads(1), known)
         for known in (cache, MemoryCache())]
        for projection in (torch.eye(8)[:, :3], torch.eye(8)[:, 5:]))
    for once, again in (first, second):
        np.testing.assert_array_equal(once, again)
    assert np.abs(first[0] - second[0]).max() > 0.01


def test_words_that_a_fragment_lacks_say_nothing() -> None:
    words = torch.eye(8)
    near_first = normalize(words[:1] + 0.1 * random_descriptors(20, 1), dim=1)
    assert aggregated(near_first, words).norm(dim=1).tolist() == pytest.approx([1] + [0] * 7)


def test_boxes_overlap_by_the_cells_that_they_share() -> None:
    """Boxes of ten cells a side: moved by half of it, by less, and far away."""
    found = overlaps([BOX] * 4, at(0, 0.5, 0.8, 7), np.zeros(4, int), 0.1)
    np.testing.assert_allclose(found, found.T)
    assert found.diagonal().tolist() == [1, 1, 1, 1]
    assert found[0, 1] == pytest.approx(0.5)
    assert found[0, 2] == pytest.approx(0.2)
    assert found[1, 2] == pytest.approx(0.7)
    assert not found[3, :3].any()


def test_the_smaller_one_says_how_much_is_shared() -> None:
    """An eighth of the box lies in it to the full."""
    corner = BOX[(BOX < 0.5).all(1)]
    assert overlaps([BOX, corner], at(0, 0), np.zeros(2, int), 0.1)[0, 1] == 1


def test_what_is_in_no_frame_or_another_does_not_overlap() -> None:
    found = overlaps([BOX] * 4, at(0, 0, np.nan, 0), np.array([0, 1, -1, 0]), 0.1)
    expected = np.eye(4)
    expected[2, 2], expected[0, 3], expected[3, 0] = 0, 1, 1
    np.testing.assert_array_equal(found, expected)
    assert not overlaps([BOX] * 2, at(np.nan, np.nan), np.array([-1, -1]), 0.1).any()


def test_pairs_overlap_from_a_share_on() -> None:
    found = overlapping([BOX] * 3, at(0, 0.5, 0.9), np.zeros(3, int), VOXEL_SIZE)
    assert found == {(0, 1), (1, 2)}


def test_priors_say_which_pairs_overlap() -> None:
    """Odometry within a run, and poses in the map; fragments without either say nothing."""
    fragments = [
        Fragment(BOX, T_odom_fragment=T, odometry_run=run)
        for T, run in zip(at(0, 0.2, 5, 0), (0, 0, 0, 1), strict=True)]
    fragments += [Fragment(BOX, T_map_fragment=at(0.1)[0]), Fragment(BOX, T_map_fragment=at(0)[0])]
    fragments.append(Fragment(BOX))
    assert overlapping_by_priors(fragments, VOXEL_SIZE) == {(0, 1), (4, 5)}


@pytest.mark.parametrize('count', [0, 1, 500])
def test_distinct_rows_are_all_that_occur_once(count: int) -> None:
    rows = np.random.default_rng(count).integers(-3, 3, (count, 3))
    found, place = distinct(rows)
    np.testing.assert_array_equal(found[place], rows)
    assert sorted(found.tolist()) == np.unique(rows, axis=0).tolist()


def test_the_strongest_of_each() -> None:
    scores = np.array([[9, 3, 2, 1.0], [3, 9, -np.inf, 0], [2, -np.inf, 9, 0], [1, 0, 0, 9]])
    assert strongest(scores, 1) == {(0, 1), (0, 2), (0, 3)}
    assert strongest(scores, 5) == {(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)}


class Corridor:
    """Boxes one after the other along x, each overlapping the next two; pairs cost nothing."""

    def __init__(self, count: int, gap: int | None = None, likeness: np.ndarray | None = None):
        """Let fragments look alike as far as they are near, and not at all across the gap."""
        self.poses = at(*(0.3 * np.arange(count)))
        self.features = [described(BOX, torch.zeros(len(BOX), 8))] * count
        self.near = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
        self.likeness = 1.0 / (1 + self.near) if likeness is None else likeness
        if gap is not None:
            side = np.arange(count) < gap
            self.likeness[side[:, None] != side] *= 0.01
        self.tried: list[list[Pair]] = []
        self.looked: list[Pair] = []

    def graph(self) -> Synchronization:
        """Return the poses by the pairs tried so far; those apart have an edge of no evidence."""
        pairs = sorted(pair for pairs in self.tried for pair in pairs)
        edges = [
            PairRegistration(i, j, np.linalg.inv(self.poses[i]) @ self.poses[j], n, n, 0.9,
                             np.eye(6))
            for i, j in pairs for n in [100 if self.near[i, j] <= 2 else 0]]
        return synchronize(len(self.poses), Edges.of(edges), 0.5)

    def look(self, pairs: Sequence[Pair]) -> list[FirstLook]:
        """Find many inliers where boxes overlap, few elsewhere."""
        self.looked += pairs
        return [FirstLook(100 if self.near[i, j] <= 2 else 5) for i, j in pairs]

    def run(self, config: SelectionConfig, neighbors: set[Pair] | None = None) -> Synchronization:
        """Choose and register until that is enough."""
        selection = LikelyPairs(
            self.features, self.likeness, self.look, neighbors or set(), VOXEL_SIZE, config)
        self.tried.append(selection.first())
        for _ in range(selection.rounds):
            self.tried.append(selection.further(self.graph()))
        return self.graph()


def test_what_poses_lay_on_each_other_is_tried_in_the_end() -> None:
    """One pair for each fragment and a tree at first; then all that overlap, few that do not."""
    corridor = Corridor(20)
    graph = corridor.run(SelectionConfig(alike=1, leaving=1))
    assert graph.component.tolist() == [0] * 20
    tried = {pair for pairs in corridor.tried for pair in pairs}
    near = {(i, j) for i, j in combinations(range(20), 2) if j - i <= 2}
    assert len(corridor.tried[0]) == 19
    assert near <= tried and len(tried) < len(near) + 20
    assert corridor.tried[-1] == []


def test_what_poses_lay_on_each_other_is_looked_at_first() -> None:
    """A look at two that lie on each other finds nothing: they are not registered."""
    corridor = Corridor(20)
    corridor.near[4, 6] = corridor.near[6, 4] = 99
    corridor.run(SelectionConfig(alike=1, leaving=1))
    assert (4, 6) in corridor.looked
    assert (4, 6) not in {pair for pairs in corridor.tried for pair in pairs}


def test_parts_are_tried_against_each_other() -> None:
    """What looks most alike across the gap has no evidence, so that at first there are two."""
    corridor = Corridor(16, gap=8)
    corridor.likeness[0, -1] = corridor.likeness[-1, 0] = 0.02
    graph = corridor.run(SelectionConfig(alike=3, leaving=4))
    assert [pair for pair in corridor.tried[0] if pair[0] < 8 <= pair[1]] == [(0, 15)]
    assert graph.component.tolist() == [0] * 16
    across = [(i, j) for i, j in (pair for pairs in corridor.tried for pair in pairs)
              if i < 8 <= j]
    assert {(6, 8), (7, 8), (7, 9)} <= set(across)


def test_a_stranger_costs_a_bounded_number_of_pairs() -> None:
    corridor = Corridor(48)
    corridor.near[5, :] = corridor.near[:, 5] = 99
    config = SelectionConfig(alike=3, leaving=4, rounds=2)
    graph = corridor.run(config)
    assert graph.component[5] == -1 and (np.delete(graph.component, 5) == 0).all()
    tried = [pair for pairs in corridor.tried for pair in pairs if 5 in pair]
    # Its own, those of the others that think it is near them, and those of the tree.
    assert len(tried) <= 3 + 6 + 4 + 2 * 2 * 4


def test_what_a_look_finds_is_registered_and_little_else() -> None:
    """Of twelve that look alike four overlap; the rest is looked at once and left."""
    corridor = Corridor(40)
    corridor.run(SelectionConfig(alike=12, least=1))
    first = set(corridor.tried[0])
    assert first == {(i, j) for i, j in combinations(range(40), 2) if j - i <= 2}
    assert first < set(corridor.looked) and len(corridor.looked) == len(set(corridor.looked))
    assert len(corridor.looked) > 3 * len(first)


def test_neighbors_are_tried_at_first() -> None:
    corridor = Corridor(12)
    corridor.run(SelectionConfig(alike=1), {(0, 11), (3, 9)})
    assert {(0, 11), (3, 9)} <= set(corridor.tried[0])


def test_each_with_each_is_all_at_once() -> None:
    selection = EachWithEach(4)
    assert selection.first() == list(combinations(range(4), 2))
    assert selection.rounds == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 4), st.integers(0, 3),
       st.integers(0, 2**32 - 1))
def test_no_pair_is_chosen_twice_and_all_hang_together(
    count: int, alike: int, leaving: int, rounds: int, seed: int
) -> None:
    """However alike fragments look: in order, i < j, spanning, and the same again."""
    scores = np.random.default_rng(seed).integers(-1, 3, (count, count)).astype(float)
    config = SelectionConfig(
        few=0, alike=alike, leaving=leaving, rounds=rounds)
    runs = []
    for _ in range(2):
        corridor = Corridor(count, likeness=scores + scores.T)
        corridor.run(config)
        runs.append(corridor.tried)
    assert runs[0] == runs[1]
    assert len(runs[0]) == rounds + 1
    assert all(pairs == sorted(pairs) for pairs in runs[0])
    tried = [pair for pairs in runs[0] for pair in pairs]
    assert len(set(tried)) == len(tried)
    assert all(0 <= i < j < count for i, j in tried)
    together = {0}
    for _ in range(count):
        together |= {k for pair in runs[0][0] if together & set(pair) for k in pair}
    assert together == set(range(count))
