# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
ResUNetBN2C, the network of fully convolutional geometric features (Choy et al., ICCV 2019).

The feature space of phi, Fig. 5. Names and shapes of the weights are those of the released code.
"""

from __future__ import annotations

from dataclasses import dataclass

from mvreg_ros.sparse.engine import SparseEngine
from mvreg_ros.sparse.layers import BatchNorm, Convolution
import torch
from torch import nn, Tensor
from torch.nn.functional import normalize, relu_


@dataclass(frozen=True)
class FcgfConfig:
    """
    The sizes of the network; the defaults are those of the published 3DMatch weights.

    encoder, decoder: channels of the stages 1 to 4, whose voxels have the strides 1, 2, 4 and 8.
    conv1_kernel_size is 5 in the weights for KITTI.
    """

    in_channels: int = 1
    encoder: tuple[int, int, int, int] = (32, 64, 128, 256)
    decoder: tuple[int, int, int, int] = (64, 64, 64, 128)
    out_channels: int = 32
    conv1_kernel_size: int = 7
    kernel_size: int = 3
    bn_momentum: float = 0.05


class ResidualBlock(nn.Module):
    """Two convolutions at one stride, past which the input goes unchanged."""

    def __init__(self, channels: int, stride: int, config: FcgfConfig) -> None:
        """Build the layers."""
        super().__init__()
        size, momentum = config.kernel_size, config.bn_momentum
        self.conv1 = Convolution(channels, channels, size, stride, stride)
        self.norm1 = BatchNorm(channels, momentum)
        self.conv2 = Convolution(channels, channels, size, stride, stride)
        self.norm2 = BatchNorm(channels, momentum)

    def forward(self, x: Tensor, engine: SparseEngine) -> Tensor:
        """Return (N, channels), nowhere negative."""
        y = relu_(self.norm1(self.conv1(x, engine)))
        return relu_(self.norm2(self.conv2(y, engine)).add_(x))


class ResUNetBN2C(nn.Module):
    """
    A U-Net of residual blocks on the occupied voxels of a batch of clouds.

    Translating a cloud by 8 voxels, the coarsest stride, does not change its features.
    """

    def __init__(self, config: FcgfConfig | None = None) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config = config or FcgfConfig()
        size, momentum = config.kernel_size, config.bn_momentum
        down1, down2, down3, down4 = config.encoder
        up1, up2, up3, up4 = config.decoder

        self.conv1 = Convolution(config.in_channels, down1, config.conv1_kernel_size, 1, 1)
        self.norm1 = BatchNorm(down1, momentum)
        self.block1 = ResidualBlock(down1, 1, config)
        self.conv2 = Convolution(down1, down2, size, 1, 2)
        self.norm2 = BatchNorm(down2, momentum)
        self.block2 = ResidualBlock(down2, 2, config)
        self.conv3 = Convolution(down2, down3, size, 2, 4)
        self.norm3 = BatchNorm(down3, momentum)
        self.block3 = ResidualBlock(down3, 4, config)
        self.conv4 = Convolution(down3, down4, size, 4, 8)
        self.norm4 = BatchNorm(down4, momentum)
        self.block4 = ResidualBlock(down4, 8, config)

        self.conv4_tr = Convolution(down4, up4, size, 8, 4)
        self.norm4_tr = BatchNorm(up4, momentum)
        self.block4_tr = ResidualBlock(up4, 4, config)
        self.conv3_tr = Convolution(up4 + down3, up3, size, 4, 2)
        self.norm3_tr = BatchNorm(up3, momentum)
        self.block3_tr = ResidualBlock(up3, 2, config)
        self.conv2_tr = Convolution(up3 + down2, up2, size, 2, 1)
        self.norm2_tr = BatchNorm(up2, momentum)
        self.block2_tr = ResidualBlock(up2, 1, config)
        self.conv1_tr = Convolution(up2 + down1, up1, 1, 1, 1)
        self.final = Convolution(up1, config.out_channels, 1, 1, 1, bias=True)

    def forward(self, features: Tensor, engine: SparseEngine) -> Tensor:
        """
        Return a descriptor of unit length for each voxel, (N, out_channels).

        features: (N, in_channels), ones in the paper, rows as engine.coordinates(1). A descriptor
        of zeros, which no weights worth having give, stays zero.
        """
        x1 = self.block1(self.norm1(self.conv1(features, engine)), engine)
        x2 = self.block2(self.norm2(self.conv2(x1, engine)), engine)
        x3 = self.block3(self.norm3(self.conv3(x2, engine)), engine)
        x4 = self.block4(self.norm4(self.conv4(x3, engine)), engine)

        y = self.block4_tr(self.norm4_tr(self.conv4_tr(x4, engine)), engine)
        y = torch.cat([y, x3], 1)
        y = self.block3_tr(self.norm3_tr(self.conv3_tr(y, engine)), engine)
        y = torch.cat([y, x2], 1)
        y = self.block2_tr(self.norm2_tr(self.conv2_tr(y, engine)), engine)
        y = torch.cat([y, x1], 1)
        y = self.final(relu_(self.conv1_tr(y, engine)), engine)
        # Under autocast the last layers are in half precision; lengths should not be.
        return normalize(y.to(features.dtype), dim=1)
