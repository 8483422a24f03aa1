"""Heads of semantic segmentation: UperNet, and the auxiliary FCN of training.

Legend: B batch, C channels, K classes; y x rows and columns of a map; n source length, m target length of one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from numpy.typing import NDArray

from beit.config import check_auxiliary_width
from beit.models_flax.layers import BatchNorm, Conv


class ConvBlock(nn.Module):
    """Convolution without a bias, batch norm, ReLU."""

    channels: int
    kernel_size: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, map_ByxC: Array, train: bool) -> Array:
        """Return a map of the same height and width."""
        size = (self.kernel_size, self.kernel_size)
        map_ByxC = Conv(self.channels, size, use_bias=False, dtype=self.dtype, name="conv")(map_ByxC)
        return jax.nn.relu(BatchNorm(name="bn")(map_ByxC, train))


class ConvBlocks(nn.Module):
    """Blocks "0", "1", ..., one for each of several maps."""

    channels: int
    kernel_size: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[Array], train: bool) -> list[Array]:
        """Return every map after its own block."""
        size, dtype = self.kernel_size, self.dtype
        return [ConvBlock(self.channels, size, dtype, name=str(i))(map_, train) for i, map_ in enumerate(maps)]


class ConvChain(nn.Module):
    """Blocks "0", "1", ... applied in sequence."""

    channels: int
    count: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, map_ByxC: Array, train: bool) -> Array:
        """Return the map after all blocks."""
        for index in range(self.count):
            map_ByxC = ConvBlock(self.channels, 3, self.dtype, name=str(index))(map_ByxC, train)
        return map_ByxC


class PooledBlock(nn.Module):
    """Pooling to a coarser resolution, then a block, named "1" because the pooling is "0" in PyTorch."""

    scale: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, map_ByxC: Array, train: bool) -> Array:
        """Return a map of the same height and width."""
        block = ConvBlock(map_ByxC.shape[-1], 1, self.dtype, name="1")
        return resized(block(pooled(map_ByxC, self.scale), train), map_ByxC.shape[1:3])


class PooledBlocks(nn.Module):
    """Pyramid pooling: a map at a few fixed resolutions (PSPNet, arXiv 1612.01105)."""

    scales: Sequence[int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, map_ByxC: Array, train: bool) -> list[Array]:
        """Return a map for every scale."""
        return [PooledBlock(scale, self.dtype, name=str(i))(map_ByxC, train) for i, scale in enumerate(self.scales)]


class UperHead(nn.Module):
    """Pyramid pooling on the coarsest map, then a feature pyramid down to the finest (UperNet, arXiv 1807.10221).

    Attributes:
        classes: Number of classes K.
        pool_scales: Side lengths that the coarsest map is pooled to.
        dtype: Type of the computation.
    """

    classes: int
    pool_scales: Sequence[int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps: Sequence[Array], train: bool) -> Array:
        """Return logits (B, y, x, K) at the resolution of the first map; `maps` go from fine to coarse."""
        dim, dtype = maps[0].shape[-1], self.dtype
        levels = ConvBlocks(dim, 1, dtype, name="lateral_convs")(maps[:3], train)
        seen = PooledBlocks(tuple(self.pool_scales), dtype, name="psp_modules")(maps[3], train)
        coarse = jnp.concatenate((maps[3], *seen), axis=-1)
        levels.append(ConvBlock(dim, 3, dtype, name="bottleneck")(coarse, train))
        for index in (2, 1, 0):
            levels[index] = levels[index] + resized(levels[index + 1], levels[index].shape[1:3])
        merged = [*ConvBlocks(dim, 3, dtype, name="fpn_convs")(levels[:3], train), levels[3]]
        merged = [merged[0], *(resized(level, merged[0].shape[1:3]) for level in merged[1:])]
        features = ConvBlock(dim, 3, dtype, name="fpn_bottleneck")(jnp.concatenate(merged, axis=-1), train)
        return Conv(self.classes, (1, 1), dtype=dtype, name="classifier")(features)


class FCNHead(nn.Module):
    """A few convolutions on the third map; its loss helps training (FCN, arXiv 1411.4038).

    Attributes:
        channels: Channels inside.
        classes: Number of classes K.
        convs: Number of convolutions before the classifier.
        concat_input: Whether the classifier also sees the incoming map.
        dtype: Type of the computation.
    """

    channels: int
    classes: int
    convs: int
    concat_input: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, map_ByxC: Array, train: bool) -> Array:
        """Return logits (B, y, x, K) at the resolution of the map."""
        check_auxiliary_width(map_ByxC.shape[-1], self.channels, self.convs)
        features = ConvChain(self.channels, self.convs, self.dtype, name="convs")(map_ByxC, train)
        if self.concat_input:
            both = jnp.concatenate((map_ByxC, features), axis=-1)
            features = ConvBlock(self.channels, 3, self.dtype, name="conv_cat")(both, train)
        return Conv(self.classes, (1, 1), dtype=self.dtype, name="classifier")(features)


def resized(map_ByxC: Array, size: Sequence[int]) -> Array:
    """Return a map at another resolution, bilinearly, as `interpolate(align_corners=False)` of PyTorch does."""
    batch, _, _, channels = map_ByxC.shape
    return jax.image.resize(map_ByxC, (batch, *size, channels), "bilinear", antialias=False)


def pooled(map_ByxC: Array, scale: int) -> Array:
    """Return the means of a map over `scale` x `scale` windows that may overlap (adaptive average pooling)."""
    weights_y, weights_x = (window_weights(side, scale).astype(map_ByxC.dtype) for side in map_ByxC.shape[1:3])
    return jnp.einsum("yh,xw,bhwc->byxc", weights_y, weights_x, map_ByxC, precision="highest")


@lru_cache(maxsize=64)
def window_weights(n: int, m: int) -> NDArray[np.float32]:
    """Return (m, n): the mean over window i, from floor(i n / m) to ceil((i + 1) n / m)."""
    weights = np.zeros((m, n), np.float32)
    for index in range(m):
        start, end = index * n // m, -(-(index + 1) * n // m)
        weights[index, start:end] = 1 / (end - start)
    return weights
