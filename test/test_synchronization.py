# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Transf-Sync and the weights of the IRLS loop: values, invariances and gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from mvreg_ros.multiview import sparse_algebra
from mvreg_ros.multiview.irls import (
    cauchy_scale,
    cauchy_weights,
    edge_residuals,
    harmonic_mean,
    MIN_SCALE,
)
from mvreg_ros.multiview.synchronization import transf_sync
import numpy as np
import pytest
from random_graphs import all_pairs, noise, random_poses, relative
from scipy.spatial.transform import Rotation
import torch
from torch import Tensor
from torch.autograd import gradcheck

SEEDS = st.integers(0, 2**32 - 1)
BOTH = pytest.mark.parametrize('translations', ['measured', 'synchronized'])


class Graph(NamedTuple):
    """Edges, in the order that `transf_sync` takes them."""

    count: int
    i: Tensor
    j: Tensor
    T_i_j: Tensor
    c: Tensor


def random_graph(
    seed: int, count: int, sigma: float, pairs: list[tuple[int, int]] | None = None
) -> tuple[Graph, np.ndarray]:
    """Return a graph of some or all pairs, with noise of sigma radians and metres, and poses."""
    rng = np.random.default_rng(seed)
    poses = random_poses(rng, count)
    i, j = np.array(pairs).T if pairs else all_pairs(count)
    T_i_j = relative(poses, i, j) @ noise(rng, len(i), sigma, sigma)
    c = rng.uniform(0.2, 1, len(i))
    return Graph(count, *map(torch.from_numpy, (i, j, T_i_j, c))), poses


def moved(T: Tensor, twist: Tensor) -> Tensor:
    """Return T exp(twist), the small motion (E, 6) a rotation first."""
    a, b, c, x, y, z = twist.unbind(1)
    o = torch.zeros_like(a)
    return T @ torch.linalg.matrix_exp(
        torch.stack([o, -c, b, x, c, o, -a, y, -b, a, o, z, o, o, o, o], 1).view(-1, 4, 4))


def literal_sync(graph: Graph) -> np.ndarray:
    """Return the poses by Eq. 28-34 as printed: M_ij maps scan i into j, edges both ways."""
    n = 3 * graph.count
    L, b = np.zeros((n, n)), np.zeros(n)
    for i, j, T, c in zip(*(x.tolist() for x in graph[1:]), strict=True):
        for s, d, M in ((i, j, np.linalg.inv(T)), (j, i, np.array(T))):
            here, there = slice(3 * s, 3 * s + 3), slice(3 * d, 3 * d + 3)
            L[here, here] += c * np.eye(3)
            L[here, there] -= c * M[:3, :3].T
            b[here] -= c * M[:3, :3].T @ M[:3, 3]
    V = np.linalg.eigh(L)[1][:, :3].reshape(-1, 3, 3)
    M = np.tile(np.eye(4), (graph.count, 1, 1))
    for k, block in enumerate(V * np.sign(np.linalg.det(V).sum()) ** np.array([0, 0, 1])):
        M[k, :3, :3] = Rotation.align_vectors(np.eye(3), block.T)[0].as_matrix().T
    M[:, :3, 3] = (np.linalg.pinv(L) @ b).reshape(-1, 3)
    return M[0] @ np.linalg.inv(M)


@given(SEEDS, st.integers(1, 10), st.sampled_from(['measured', 'synchronized']))
def test_exact_edges_give_the_exact_poses(seed: int, count: int, translations: Any) -> None:
    """Eq. 28-34 on edges without noise and with any positive confidences; also one node alone."""
    graph, poses = random_graph(seed, count, 0.0)
    found = transf_sync(*graph, translations)
    np.testing.assert_allclose(found, poses, atol=1e-6)
    single = transf_sync(graph.count, graph.i, graph.j, graph.T_i_j.float(), graph.c.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, poses, atol=1e-3)


@pytest.mark.parametrize('sigma', [0.01, 0.1, 0.5])
def test_measured_translations_are_those_of_the_paper(sigma: float) -> None:
    """The equations as printed, in the paper's convention and with a pseudo-inverse."""
    graph, _ = random_graph(5, 8, sigma)
    np.testing.assert_allclose(transf_sync(*graph, 'measured'), literal_sync(graph), atol=1e-5)


def test_the_solutions_are_minima() -> None:
    """The spectral rotations are nearly, the translations exactly, the best for noisy edges."""
    rng = np.random.default_rng(4)
    graph, _ = random_graph(4, 7, 0.03)
    i, j, T_i_j, c = (x.numpy() for x in graph[1:])
    found = transf_sync(*graph, 'synchronized').numpy()
    R, t = found[:, :3, :3], found[:, :3, 3]

    def rotation_cost(R: np.ndarray) -> float:
        difference = T_i_j[:, :3, :3] - R[i].transpose(0, 2, 1) @ R[j]
        return float((c * (difference**2).sum((1, 2))).sum())

    def translation_cost(t: np.ndarray) -> float:
        difference = np.einsum('eab,eb->ea', R[i], T_i_j[:, :3, 3]) - (t[j] - t[i])
        return float((c * (difference**2).sum(1)).sum())

    for _ in range(50):
        turn = Rotation.from_rotvec(rng.normal(0, 0.02, (7, 3))).as_matrix()
        assert rotation_cost(R @ turn) > rotation_cost(R)
        assert translation_cost(t + rng.normal(0, 0.01, t.shape)) > translation_cost(t)


@BOTH
def test_the_sparse_solver_agrees_with_the_dense_one(
    translations: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring with chords of 60 nodes, solved both ways: poses and gradients."""
    rng = np.random.default_rng(1)
    chords = zip(rng.integers(0, 30, 40).tolist(), rng.integers(30, 60, 40).tolist(), strict=True)
    ring = [(k, k + 1) for k in range(59)] + [(0, 59)]
    graph, _ = random_graph(1, 60, 0.02, sorted({*ring, *chords}))
    weight = torch.from_numpy(rng.normal(size=(60, 4, 4)))

    def solve() -> tuple[Tensor, ...]:
        T_i_j, c = (x.clone().requires_grad_() for x in (graph.T_i_j, graph.c))
        poses = transf_sync(60, graph.i, graph.j, T_i_j, c, translations)
        return poses, *torch.autograd.grad((weight * poses).sum(), (T_i_j, c))

    dense = solve()
    monkeypatch.setattr(sparse_algebra, 'DENSE_ROWS', 0)
    torch.testing.assert_close(solve(), dense, rtol=1e-6, atol=1e-6)


@BOTH
@pytest.mark.parametrize('count', [4, 7, 10])
@pytest.mark.parametrize('sigma', [0.02, 0.3])
def test_gradients_on_noisy_graphs(translations: Any, count: int, sigma: float) -> None:
    """Against finite differences in every entry of T_i_j, along random directions."""
    graph, _ = random_graph(count, count, sigma)
    inputs = graph.T_i_j.requires_grad_(), graph.c.requires_grad_()
    assert gradcheck(
        lambda T, c: transf_sync(count, graph.i, graph.j, T, c, translations), inputs,
        fast_mode=count > 4)


@BOTH
@pytest.mark.parametrize('pairs', [
    None, [(0, 1), (1, 2), (1, 3), (3, 4)], [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)],
], ids=['all pairs', 'tree', 'ring'])
def test_gradients_on_exact_graphs(
    translations: Any, pairs: list[tuple[int, int]] | None
) -> None:
    """Where the eigenvalues coincide, and are 0: against finite differences of small motions."""
    graph, _ = random_graph(6, 5, 0.0, pairs)
    T_i_j, c = graph.T_i_j.requires_grad_(), graph.c.requires_grad_()
    twist = torch.zeros(len(c), 6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(
        lambda x, c: transf_sync(5, graph.i, graph.j, moved(T_i_j.detach(), x), c, translations),
        (twist, c), fast_mode=True)
    poses = transf_sync(5, graph.i, graph.j, T_i_j, c, translations)
    for gradient in torch.autograd.grad(poses[1:].square().sum(), (T_i_j, c)):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() < 1e3


def test_gradients_are_finite_where_no_three_eigenvalues_are_the_smallest() -> None:
    """A ring whose rotations add up to half a turn: the fourth eigenvalue equals the third."""
    half = Rotation.from_rotvec([0, 0, np.pi]).as_matrix()
    T_i_j = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    T_i_j[2, :3, :3] = torch.from_numpy(half)
    T_i_j.requires_grad_()
    i, j = torch.tensor([0, 1, 0]), torch.tensor([1, 2, 2])
    poses = transf_sync(3, i, j, T_i_j, torch.ones(3, dtype=torch.float64), 'synchronized')
    poses[1:].square().sum().backward()
    assert torch.isfinite(T_i_j.grad).all()


@pytest.mark.parametrize('sigma', [0.0, 0.1, 0.5])
def test_other_frames_give_the_same_map(sigma: float) -> None:
    """Fragments that are turned and shifted move back; where edges contradict each other, too."""
    graph, _ = random_graph(3, 8, sigma)
    G = torch.from_numpy(random_poses(np.random.default_rng(9), 8))
    T_i_j = torch.linalg.inv(G)[graph.i] @ graph.T_i_j @ G[graph.j]
    found = transf_sync(8, graph.i, graph.j, T_i_j, graph.c)
    expected = torch.linalg.inv(G[0]) @ transf_sync(*graph) @ G
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@BOTH
def test_only_the_ratios_of_the_confidences_count(translations: Any) -> None:
    """And so the gradient is at a right angle to them."""
    graph, _ = random_graph(2, 6, 0.2)
    expected = transf_sync(*graph, translations)
    for scale in (1e-6, 300.0):
        found = transf_sync(6, graph.i, graph.j, graph.T_i_j, scale * graph.c, translations)
        torch.testing.assert_close(found, expected)
    c = graph.c.requires_grad_()
    transf_sync(*graph, translations).square().sum().backward()
    assert abs(float(c.grad @ c.detach())) < 1e-6 * float(c.grad.norm())


@BOTH
def test_the_order_of_nodes_and_edges_does_not_matter(translations: Any) -> None:
    """Nodes renamed, edges shuffled, and in the paper's equations turned round: the same map."""
    graph, _ = random_graph(8, 6, 0.2)
    rng = np.random.default_rng(0)
    name, order = (torch.from_numpy(rng.permutation(n)) for n in (6, len(graph.i)))
    flip = torch.from_numpy(rng.random(len(order)) < 0.5) & (translations == 'measured')
    i, j, T, c = (x[order] for x in graph[1:])
    found = transf_sync(
        6, name[torch.where(flip, j, i)], name[torch.where(flip, i, j)],
        torch.where(flip[:, None, None], torch.linalg.inv(T), T), c, translations)[name]
    expected = transf_sync(*graph, translations)
    torch.testing.assert_close(torch.linalg.inv(found[0]) @ found, expected)


def test_cauchy_weights_and_the_harmonic_mean_are_those_of_the_paper() -> None:
    """Eq. 14 and 15 at values computed by hand."""
    residual = torch.tensor([0, 0.5, 2])
    torch.testing.assert_close(cauchy_weights(residual, 0.5, 1), torch.tensor([1, 0.5, 0.2]))
    torch.testing.assert_close(cauchy_weights(torch.ones(1), 0.5, 2), torch.tensor([0.2]))
    c_local, c_global = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    torch.testing.assert_close(
        harmonic_mean(c_local, c_global)[[0, 2]], torch.tensor([2 / 3, 0]))
    twice = harmonic_mean(c_local, c_global, torch.tensor(2.0))
    torch.testing.assert_close(twice[1], torch.tensor(5 * 0.5 / 4.5))
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[1, 0, 3] = 3.0
    edge = torch.tensor([0]), torch.tensor([1]), torch.eye(4)[None]
    assert edge_residuals(poses, *edge) == 3
    assert edge_residuals(poses, *edge, unit=1.5) == 2
    # |r - 3| = 2, 1, 0, 1, 97, the median of which is 1.
    scale = cauchy_scale(torch.tensor([1.0, 2, 3, 4, 100]), 2.0)
    torch.testing.assert_close(scale, torch.tensor(1.482 * 2))


def test_the_weights_have_gradients_on_an_exact_graph() -> None:
    """Residuals of 0 divide nothing by 0: full confidence, finite gradients; nor do no edges."""
    graph, poses = random_graph(0, 5, 0.0)
    T_i_j, c = graph.T_i_j.requires_grad_(), graph.c.requires_grad_()
    for estimate in (torch.from_numpy(poses), transf_sync(*graph)):
        residual = edge_residuals(estimate, graph.i, graph.j, T_i_j)
        c_global = cauchy_weights(residual, cauchy_scale(residual, 2.385), 1)
        torch.testing.assert_close(c_global, torch.ones_like(c_global))
        total = harmonic_mean(c, c_global).sum()
        for gradient in torch.autograd.grad(total, (T_i_j, c), retain_graph=True):
            assert torch.isfinite(gradient).all()
    assert cauchy_scale(torch.zeros(0), 2.385) == torch.tensor(MIN_SCALE)
    same = torch.eye(4).repeat(2, 1, 1).requires_grad_()
    residual = edge_residuals(same.detach(), torch.tensor([0]), torch.tensor([1]), same[:1])
    residual.sum().backward()
    assert not same.grad.any()


def test_the_weights_agree_with_finite_differences() -> None:
    """Residuals, their scale, Eq. 14 and 15 in one chain, beta with them."""
    graph, poses = random_graph(1, 5, 0.1)
    beta = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def confidence(poses: Tensor, T_i_j: Tensor, c: Tensor, beta: Tensor) -> Tensor:
        residual = edge_residuals(poses, graph.i, graph.j, T_i_j)
        return harmonic_mean(c, cauchy_weights(residual, cauchy_scale(residual, 2), 2), beta)

    assert gradcheck(confidence, (
        torch.from_numpy(poses).requires_grad_(), graph.T_i_j.requires_grad_(),
        graph.c.requires_grad_(), beta), fast_mode=True)
