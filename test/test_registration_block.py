# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The registration block against a twin of stock torch layers, and what padding may not change."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from mvreg_ros.pairwise.registration_block import correspondence_weights, RegistrationBlock
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

SEEDS = st.integers(0, 2**32 - 1)
BATCH_NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def published_entries(in_channels: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the released weights of one block."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for part in BATCH_NORM:
            shapes[f'{name}.{part}'] = () if part == 'num_batches_tracked' else (channels,)

    def conv(name: str, channels: int, out: int) -> None:
        shapes[f'{name}.weight'], shapes[f'{name}.bias'] = (out, channels, 1, 1), (out,)

    def point_cn(name: str, channels: int) -> None:
        for norm_index, conv_index, inside in ((1, 3, channels), (5, 7, 128)):
            norm(f'{name}.conv.{norm_index}', inside)
            conv(f'{name}.conv.{conv_index}', inside, 128)

    conv('conv1', in_channels, 128)
    for name in ('down1', 'up1'):
        norm(f'{name}.conv.1', 128)
        conv(f'{name}.conv.3', 128, 500)
    for k in range(3):
        point_cn(f'l1_1.{k}', 128)
        point_cn(f'l1_2.{k}', 128 if k else 256)
        norm(f'l2.{k}.conv1.1', 128)
        conv(f'l2.{k}.conv1.3', 128, 128)
        norm(f'l2.{k}.conv2.0', 500)
        conv(f'l2.{k}.conv2.2', 500, 500)
        norm(f'l2.{k}.conv3.2', 128)
        conv(f'l2.{k}.conv3.4', 128, 128)
    conv('l1_2.0.shot_cut', 256, 128)
    conv('output', 128, 1)
    return shapes


def test_names_shapes_and_counts_are_those_of_the_released_weights() -> None:
    """334 entries and 2,473,050 parameters in psi_init and psi_iter."""
    entries = parameters = 0
    for in_channels in (6, 8):
        block = RegistrationBlock(in_channels)
        found = {name: tuple(value.shape) for name, value in block.state_dict().items()}
        assert found == published_entries(in_channels)
        entries += len(found)
        parameters += sum(p.numel() for p in block.parameters())
    assert (entries, parameters) == (334, 2_473_050)


class Twin(nn.Module):
    """The network of reference layers, written out along the description, without masks."""

    def __init__(self, in_channels: int, width: int, clusters: int, depth: int) -> None:
        """Build it under the same names."""
        super().__init__()
        self.depth = depth
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.l1_1 = nn.Sequential(*(self.point_cn(width, width) for _ in range(depth)))
        self.down1 = nn.ModuleDict({'conv': self.step(width, clusters, 1e-3)})
        self.up1 = nn.ModuleDict({'conv': self.step(width, clusters, 1e-3)})
        self.l2 = nn.ModuleList(nn.ModuleDict({
            'conv1': self.step(width, width, 1e-3),
            'conv2': self.step(clusters, clusters, None),
            'conv3': nn.Sequential(nn.Identity(), *self.step(width, width, 1e-3)),
        }) for _ in range(depth))
        self.l1_2 = nn.Sequential(
            *(self.point_cn(width if k else 2 * width, width) for k in range(depth)))
        self.output = nn.Conv2d(width, 1, 1)

    @staticmethod
    def step(channels: int, out: int, eps: float | None) -> nn.Sequential:
        """Return (IN,) BN, ReLU, 1x1 convolution."""
        first = [] if eps is None else [nn.InstanceNorm2d(channels, eps=eps)]
        return nn.Sequential(
            *first, nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, out, 1))

    def point_cn(self, channels: int, out: int) -> nn.ModuleDict:
        """Return the branches of a residual block."""
        branches = {'conv': nn.Sequential(
            *self.step(channels, out, 1e-5), *self.step(out, out, 1e-5))}
        if channels != out:
            branches['shot_cut'] = nn.Conv2d(channels, out, 1)
        return nn.ModuleDict(branches)

    @staticmethod
    def residual(block: nn.ModuleDict, x: torch.Tensor) -> torch.Tensor:
        """Apply a block made by `point_cn`."""
        return block['conv'](x) + (block['shot_cut'](x) if 'shot_cut' in block else x)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and features of (B, K, C)."""
        x = self.conv1(x.transpose(1, 2)[..., None])
        for block in self.l1_1:
            x = self.residual(block, x)
        pool = torch.softmax(self.down1['conv'](x), 2)
        c = torch.einsum('bckx,bmkx->bcm', x, pool)[..., None]
        for f in self.l2:
            a = f['conv1'](c).transpose(1, 2)
            c = c + f['conv3']((a + f['conv2'](a)).transpose(1, 2))
        unpool = torch.softmax(self.up1['conv'](x), 1)
        x = torch.cat([x, torch.einsum('bcmx,bmkx->bckx', c, unpool)], 1)
        for block in self.l1_2:
            x = self.residual(block, x)
        return self.output(x)[:, 0, :, 0], x[..., 0].transpose(1, 2)


def scrambled(block: RegistrationBlock, seed: int) -> RegistrationBlock:
    """Return the block with random weights and statistics everywhere, also where torch has 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in block.state_dict().items():
        if name.endswith('num_batches_tracked'):
            continue
        noise = torch.randn(value.shape, generator=generator) / 4
        value.copy_(noise.square() + 0.5 if name.endswith('running_var') else value + noise)
    return block


def small(seed: int = 0, in_channels: int = 6) -> RegistrationBlock:
    """Return a small block in float64, the same at each call."""
    torch.manual_seed(seed)
    return scrambled(RegistrationBlock(in_channels, width=8, clusters=5, depth=2), seed).double()


def full_mask(batch: int, count: int) -> torch.Tensor:
    """Return the mask of unpadded input."""
    return torch.ones(batch, count, dtype=torch.bool)


@pytest.mark.parametrize('training', [False, True])
def test_without_padding_it_is_the_network_of_stock_layers(training: bool) -> None:
    """Outputs, running statistics and gradients at the published size agree to 1e-5."""
    torch.manual_seed(0)
    block = scrambled(RegistrationBlock(6), 0).double().train(training)
    twin = Twin(6, 128, 500, 3).double().train(training)
    twin.load_state_dict(block.state_dict())
    x = torch.randn(2, 40, 6, dtype=torch.float64)
    found, expected = block(x, full_mask(2, 40)), twin(x)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(block.state_dict()[name], value, msg=name)
    found[0].square().sum().backward()
    expected[0].square().sum().backward()
    gradients = dict(block.named_parameters())
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(
            gradients[name].grad, parameter.grad, atol=1e-7, rtol=1e-7, msg=name)


def test_single_precision_agrees_with_double() -> None:
    """The published size, an eighth of the published number of correspondences, to 1e-4."""
    block = scrambled(RegistrationBlock(8), 1).eval()
    x = torch.randn(1, 256, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        single = block(x, full_mask(1, 256))[0]
        double = block.double()(x.double(), full_mask(1, 256))[0]
    torch.testing.assert_close(single.double(), double, atol=1e-4, rtol=1e-4)


def test_half_precision_does_not_overflow_on_many_correspondences() -> None:
    """The sums over 5000 of them are beyond float16, the answer is near that of float32."""
    block = RegistrationBlock(6, width=16, clusters=8, depth=1).eval()
    x = 20 * torch.randn(1, 5000, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, _ = block(x, full_mask(1, 5000))
        with torch.autocast('cpu', torch.float16):
            found, _ = block(x, full_mask(1, 5000))
    error = (found - expected).std() / expected.std()
    assert error < 0.02


@given(SEEDS, st.lists(st.integers(2, 9), min_size=1, max_size=3), st.integers(0, 4),
       st.sampled_from([0.0, 1e6, float('nan'), float('inf')]), st.booleans())
@settings(max_examples=30)
def test_padding_changes_nothing(
    seed: int, counts: list[int], extra: int, filling: float, training: bool
) -> None:
    """Outputs, gradients and running statistics are those of the least padding, filled with 0."""
    generator = torch.Generator().manual_seed(seed)
    results = []
    longest = max(counts)
    rows = torch.randn(len(counts), longest, 6, generator=generator, dtype=torch.float64)
    for length, value in ((longest, 0.0), (longest + extra, filling)):
        mask = torch.arange(length) < torch.tensor(counts)[:, None]
        x = torch.full((len(counts), length, 6), value, dtype=torch.float64)
        x[mask] = rows[mask[:, :longest]]
        block = small().train(training)
        logits, features = block(x.requires_grad_(), mask)
        assert not logits[~mask].any()
        assert not features[~mask].any()
        (logits.square().sum() + features.square().sum()).backward()
        assert not x.grad[~mask].any()
        results.append([
            logits[mask], features[mask], x.grad[mask],
            *block.state_dict().values(), *(p.grad for p in block.parameters()),
        ])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)


def test_training_statistics_are_those_of_the_real_rows() -> None:
    """With a padded batch the first batch norm is that of torch on the concatenated rows."""
    block = small().train()
    counts = torch.tensor([7, 3])
    mask = torch.arange(9) < counts[:, None]
    x = torch.randn(2, 9, 6, dtype=torch.float64)
    norm = nn.BatchNorm2d(8).double()
    norm.load_state_dict(block.l1_1[0].conv[1].state_dict())
    with torch.no_grad():
        rows = [block.conv1(x[b, :n].T[None, :, :, None]) for b, n in enumerate(counts)]
        norm(torch.cat([nn.functional.instance_norm(r, eps=1e-5) for r in rows], 2))
        block(x, mask)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(block.l1_1[0].conv[1].state_dict()[name], value, msg=name)


@given(SEEDS, st.lists(st.integers(2, 12), min_size=1, max_size=4))
@settings(max_examples=20)
def test_a_batch_is_each_pair_alone(seed: int, counts: list[int]) -> None:
    """In eval mode, pairs of unequal numbers of correspondences do not know of each other."""
    block = small().eval()
    pairs = [torch.randn(n, 6, generator=torch.Generator().manual_seed(seed + k),
                         dtype=torch.float64) for k, n in enumerate(counts)]
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    logits, features = block(nn.utils.rnn.pad_sequence(pairs, batch_first=True), mask)
    for k, x in enumerate(pairs):
        alone = block(x[None], full_mask(1, len(x)))
        torch.testing.assert_close(logits[k, :len(x)], alone[0][0])
        torch.testing.assert_close(features[k, :len(x)], alone[1][0])


@pytest.mark.parametrize('training', [False, True])
def test_the_order_of_correspondences_and_of_padding_does_not_matter(training: bool) -> None:
    """A permutation of the rows and their mask permutes the output."""
    x = torch.randn(2, 11, 6, dtype=torch.float64)
    mask = torch.arange(11) < torch.tensor([[11], [6]])
    order = torch.randperm(11)
    logits, features = small().train(training)(x, mask)
    permuted = small().train(training)(x[:, order], mask[:, order])
    torch.testing.assert_close(permuted[0], logits[:, order])
    torch.testing.assert_close(permuted[1], features[:, order])


def test_finite_differences_agree_through_masks() -> None:
    """Of logits and features by the correspondences of a padded batch, in training."""
    block = small(3).train()
    mask = torch.arange(5) < torch.tensor([[5], [4]])
    x = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: block(x, mask), (x,), atol=1e-4, fast_mode=True)


def test_weights_are_tanh_relu_and_never_all_zero() -> None:
    """A pair of no weight gets equal weights over its real rows; its neighbours keep theirs."""
    logits = torch.tensor([[0.5, -1, 2, 9], [-1, 0, -3, 5], [-1, -2, -3, -4]], requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.bool)
    weights = correspondence_weights(logits, mask)
    expected = torch.tensor([
        [0.4621172, 0, 0.9640276, 0], [1 / 3, 1 / 3, 1 / 3, 0], [0.25, 0.25, 0.25, 0.25],
    ])
    torch.testing.assert_close(weights, expected)
    weights.sum().backward()
    slope = torch.zeros(3, 4)
    slope[0, 0], slope[0, 2] = 1 - 0.4621172**2, 1 - 0.9640276**2
    torch.testing.assert_close(logits.grad, slope)
