"""Feature pyramid: four maps of different resolution from four layers of an encoder that has only one.

Legend: B batch, S = 1 + N tokens, D hidden, y x rows and columns of the patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from beit.geometry import Grid
from beit.models_flax.layers import BatchNorm, Upsample2


class Up4(nn.Module):
    """Upsampling to four times the resolution: `fpn1` of the original implementation, with its batch norm."""

    batch_norm_eps: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, map_ByxD: Array, train: bool) -> Array:
        """Return (B, 4 y, 4 x, D)."""
        dim = map_ByxD.shape[-1]
        map_ByxD = Upsample2(dim, dtype=self.dtype, name="0")(map_ByxD)
        map_ByxD = jax.nn.gelu(BatchNorm(self.batch_norm_eps, name="1")(map_ByxD, train), approximate=False)
        return Upsample2(dim, dtype=self.dtype, name="3")(map_ByxD)


class Up2(nn.Module):
    """Upsampling to twice the resolution: `fpn2`."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, map_ByxD: Array) -> Array:
        """Return (B, 2 y, 2 x, D)."""
        return Upsample2(map_ByxD.shape[-1], dtype=self.dtype, name="0")(map_ByxD)


def feature_pyramid(
    maps_ByxD: Sequence[Array], batch_norm_eps: float, dtype: Any, train: bool
) -> tuple[Array, Array, Array, Array]:
    """Scale four maps by 4, 2, 1 and 1/2; the layers are "fpn1" and "fpn2" of the module that calls.

    Source: arXiv 2106.08254, section 3.2; `fpn1` to `fpn4` of the original implementation.
    """
    first, second, third, fourth = maps_ByxD
    return (
        Up4(batch_norm_eps, dtype, name="fpn1")(first, train),
        Up2(dtype, name="fpn2")(second),
        third,
        nn.max_pool(fourth, (2, 2), strides=(2, 2)),
    )


def as_map(tokens_BSD: Array, grid: Grid) -> Array:
    """Return patch tokens as a map (B, y, x, D); [CLS] is left out."""
    return tokens_BSD[:, 1:].reshape(tokens_BSD.shape[0], *grid, tokens_BSD.shape[2])
