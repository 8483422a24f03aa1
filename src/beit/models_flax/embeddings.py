"""Embeddings of pixels as tokens: patches, the mask token, [CLS] and absolute positions.

Legend: B batch, C channels, N patches, S = 1 + N tokens, D hidden; h w pixels, p q pixels of a patch.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from beit.config import BeitConfig
from beit.geometry import Grid
from beit.geometry.resampling import position_weights
from beit.models_flax import kernels
from beit.models_flax.layers import UNSET


class PatchProjection(nn.Module):
    """Convolution whose windows do not overlap, computed as one matrix product."""

    dim: int
    patch_hw: tuple[int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, pixels_BhwC: Array, grid: Grid) -> Array:
        """Return (B, N, D)."""
        B, C, (p, q) = pixels_BhwC.shape[0], pixels_BhwC.shape[-1], self.patch_hw
        kernel_pqCD: Any = self.param("kernel", UNSET, (p, q, C, self.dim))
        bias_D: Any = self.param("bias", UNSET, (self.dim,))
        whole_BhwC = pixels_BhwC[:, : grid.height * p, : grid.width * q]
        windows_BypxqC = whole_BhwC.reshape(B, grid.height, p, grid.width, q, C)
        windows_BNF = windows_BypxqC.transpose(0, 1, 3, 2, 4, 5).reshape(B, grid.patches, p * q * C)
        kernel_FD = kernel_pqCD.reshape(-1, self.dim).astype(self.dtype)
        return kernels.product(windows_BNF.astype(self.dtype), kernel_FD) + bias_D.astype(self.dtype)


class PatchEmbeddings(nn.Module):
    """Patch projection under its published name, "projection"."""

    dim: int
    patch_hw: tuple[int, int]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, pixels_BhwC: Array, grid: Grid) -> Array:
        """Return (B, N, D)."""
        return PatchProjection(self.dim, self.patch_hw, self.dtype, name="projection")(pixels_BhwC, grid)


class Embeddings(nn.Module):
    """Cut an image into patches and embed them (arXiv 2106.08254, sections 2.1 and 2.3)."""

    dim: int
    grid: Grid
    patch_hw: tuple[int, int]
    mask_token: bool = False
    absolute_positions: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @classmethod
    def of(cls, config: BeitConfig, grid: Grid, dtype: Any) -> Embeddings:
        """Build the embeddings that a config describes."""
        return cls(
            config.hidden_size,
            grid,
            config.patch_hw,
            config.use_mask_token,
            config.use_absolute_position_embeddings,
            config.hidden_dropout_prob,
            dtype,
            name="embeddings",
        )

    @nn.compact
    def __call__(self, pixels_BhwC: Array, mask_BN: Array | None = None, train: bool = False) -> tuple[Array, Grid]:
        """Return the tokens (B, S, D), [CLS] first, and the grid that the patches lie on.

        Args:
            pixels_BhwC: Pictures of any height and width that the patch size divides.
            mask_BN: Where it is True, the mask token stands for the patch.
            train: Whether dropout is on.
        """
        (B, height, width), (p, q) = pixels_BhwC.shape[:3], self.patch_hw
        grid = Grid(height // p, width // q)
        tokens_BND = PatchEmbeddings(self.dim, self.patch_hw, self.dtype, name="patch_embeddings")(pixels_BhwC, grid)
        cls_11D: Any = self.param("cls_token", UNSET, (1, 1, self.dim))
        if self.mask_token:
            mask_11D: Any = self.param("mask_token", UNSET, (1, 1, self.dim))
            if mask_BN is not None:
                tokens_BND = jnp.where(mask_BN[..., None], mask_11D.astype(self.dtype), tokens_BND)
        cls_B1D = jnp.broadcast_to(cls_11D.astype(self.dtype), (B, 1, self.dim))
        tokens_BSD = jnp.concatenate((cls_B1D, tokens_BND), axis=1)
        if self.absolute_positions:  # after masking: a masked patch keeps its position
            position_1SD: Any = self.param("position_embeddings", UNSET, (1, 1 + self.grid.patches, self.dim))
            tokens_BSD = tokens_BSD + self._positions_for(position_1SD, grid).astype(self.dtype)
        return nn.Dropout(self.dropout)(tokens_BSD, deterministic=not train), grid

    def _positions_for(self, position_1SD: Array, grid: Grid) -> Array:
        """Return the absolute positions (1, S, D), resampled if the grid is another than that of the weights."""
        if grid == self.grid:
            return position_1SD
        weights_y, weights_x = (weights.astype(np.float32) for weights in position_weights(self.grid, grid))
        patches_yxD = position_1SD[0, 1:].astype(jnp.float32).reshape(*self.grid, self.dim)
        resized_yxD = jnp.einsum("yh,xw,hwd->yxd", weights_y, weights_x, patches_yxD, precision="highest")
        resized_1ND = resized_yxD.reshape(1, grid.patches, self.dim).astype(position_1SD.dtype)
        return jnp.concatenate((position_1SD[:, :1], resized_1ND), axis=1)
