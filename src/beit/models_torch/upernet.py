"""Heads of semantic segmentation: UperNet, and the auxiliary FCN of training.

Legend: B batch, C channels, K classes; y x rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from beit.config import check_auxiliary_width
from beit.models_torch import kernels


class ConvBlock(nn.Module):
    """Convolution without a bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU()

    def forward(self, map_BCyx: Tensor) -> Tensor:
        """Return a map of the same height and width."""
        return kernels.norm_relu(self.bn, self.activation, self.conv(map_BCyx))


class MergingBlock(ConvBlock):
    """Convolution block on several maps enlarged to the first and concatenated, without building that map."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return a map of the height and width of the first."""
        return kernels.norm_relu(self.bn, self.activation, kernels.merge_maps(self.conv, maps))


class AveragePool(nn.AdaptiveAvgPool2d):
    """Means of a map over a fixed number of windows along each side."""

    def forward(self, map_BCyx: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the means (B, C, scale, scale)."""
        return kernels.average_pool(map_BCyx, cast(int, self.output_size))


class UperHead(nn.Module):
    """Pyramid pooling on the coarsest map, then a feature pyramid down to the finest (UperNet, arXiv 1807.10221).

    Args:
        dim: Channels of the four incoming maps, and of the head.
        classes: Number of classes K.
        pool_scales: Side lengths that the coarsest map is pooled to.
    """

    def __init__(self, dim: int, classes: int, pool_scales: Sequence[int]) -> None:
        super().__init__()
        # what whoever puts another classifier in place asks for
        self.in_channels, self.channels = [dim] * 4, dim
        self.pool_scales, self.align_corners = list(pool_scales), False
        self.classifier = nn.Conv2d(dim, classes, kernel_size=1)  # first, as published: optimisers number parameters
        self.psp_modules = nn.ModuleList(
            nn.Sequential(AveragePool(scale), ConvBlock(dim, dim, 1)) for scale in pool_scales
        )
        self.bottleneck = MergingBlock((1 + len(pool_scales)) * dim, dim, 3)
        self.lateral_convs = nn.ModuleList(ConvBlock(dim, dim, 1) for _ in range(3))
        self.fpn_convs = nn.ModuleList(ConvBlock(dim, dim, 3) for _ in range(3))
        self.fpn_bottleneck = MergingBlock(4 * dim, dim, 3)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits (B, K, y, x) at the resolution of the first map; `maps` go from fine to coarse."""
        levels = [lateral(fine) for lateral, fine in zip(self.lateral_convs, maps[:3], strict=True)]
        levels.append(self._pool_pyramid(maps[3]))
        for index in (2, 1, 0):
            levels[index] = levels[index] + kernels.resize(levels[index + 1], _size(levels[index]))
        for index, conv in enumerate(self.fpn_convs):
            levels[index] = conv(levels[index])
        return self.classifier(self.fpn_bottleneck(levels))

    def _pool_pyramid(self, coarse_BCyx: Tensor) -> Tensor:
        """Add what is seen at a few fixed resolutions to the coarsest map (PSPNet, arXiv 1612.01105)."""
        return self.bottleneck([coarse_BCyx, *(module(coarse_BCyx) for module in self.psp_modules)])


class FCNHead(nn.Module):
    """A few convolutions on the third map; its loss helps training (FCN, arXiv 1411.4038).

    Args:
        dim: Channels of the incoming map.
        channels: Channels inside.
        classes: Number of classes K.
        convs: Number of convolutions before the classifier.
        concat_input: Whether the classifier also sees the incoming map.

    Raises:
        ConfigError: If there is no convolution to change the number of channels.
    """

    def __init__(self, dim: int, channels: int, classes: int, convs: int, concat_input: bool) -> None:
        super().__init__()
        check_auxiliary_width(dim, channels, convs)
        self.in_channels, self.channels, self.in_index = dim, channels, 2
        self.num_convs, self.concat_input = convs, concat_input
        widths = [dim] + [channels] * convs
        self.convs = nn.Sequential(*(ConvBlock(a, b, 3) for a, b in pairwise(widths)))
        self.conv_cat = ConvBlock(dim + channels, channels, 3) if concat_input else None
        self.classifier = nn.Conv2d(channels, classes, kernel_size=1)

    def forward(self, map_BCyx: Tensor) -> Tensor:
        """Return logits (B, K, y, x) at the resolution of the map."""
        features = self.convs(map_BCyx)
        if self.conv_cat is not None:
            features = self.conv_cat(torch.cat((map_BCyx, features), dim=1))
        return self.classifier(features)


def _size(map_BCyx: Tensor) -> tuple[int, int]:
    """Return height and width of a map."""
    return map_BCyx.shape[2], map_BCyx.shape[3]
