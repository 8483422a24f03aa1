"""Self-attention, and its relative position bias (arXiv 2106.08254, section 2.3).

Legend: B batch, S = 1 + N tokens, D hidden, H heads, R rows of a table of biases.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from numpy.typing import NDArray

from beit.geometry import Grid, bias_offsets, num_relative_positions, relative_position_index
from beit.geometry.resampling import bias_weights
from beit.models_flax import kernels
from beit.models_flax.layers import UNSET, Linear, Projection


@lru_cache(maxsize=16)
def position_index(grid: Grid) -> NDArray[np.int32]:
    """Return `geometry.relative_position_index`, a constant of the compiled program."""
    return relative_position_index(grid).astype(np.int32)


class RelativePositionBias(nn.Module):
    """A learned bias per head for every offset between two patches, and three for [CLS].

    Source: arXiv 2106.08254, section 2.3.
    """

    heads: int
    grid: Grid

    @nn.compact
    def __call__(self, grid: Grid) -> Array:
        """Return the additive attention mask (1, H, S, S) for tokens on a grid."""
        shape = (num_relative_positions(self.grid), self.heads)
        table: Any = self.param("relative_position_bias_table", UNSET, shape)
        # the index is of this grid, and XLA need not look whether it points into the table
        return self._table_for(table, grid).T.at[:, position_index(grid)].get(mode="promise_in_bounds")[None]

    def _table_for(self, table: Array, grid: Grid) -> Array:
        """Return the table, stretched bilinearly if the grid is another than that of the weights."""
        if grid == self.grid:
            return table
        weights_y, weights_x = (weights.astype(np.float32) for weights in bias_weights(self.grid, grid, "bilinear"))
        offsets_yxH = table[:-3].astype(jnp.float32).reshape(*bias_offsets(self.grid), self.heads)
        resized_yxH = jnp.einsum("yh,xw,hwk->yxk", weights_y, weights_x, offsets_yxH, precision="highest")
        return jnp.concatenate((resized_yxH.reshape(-1, self.heads).astype(table.dtype), table[-3:]))


class SelfAttention(nn.Module):
    """Attention without its output projection; queries and values have a bias, keys have none.

    The published names keep three projections, and XLA merges their products where that is faster.
    """

    heads: int
    grid: Grid | None = None
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens_BSD: Array,
        grid: Grid,
        shared_bias_1HSS: Array | None = None,
        output_attentions: bool = False,
        train: bool = False,
    ) -> tuple[Array, Array | None]:
        """Return the context (B, S, D), and the attention maps (B, H, S, S) if asked for."""
        B, S, D = tokens_BSD.shape
        shape_BSHd = B, S, self.heads, D // self.heads
        query_BSHd, key_BSHd, value_BSHd = (
            Linear(D, use_bias=name != "key", dtype=self.dtype, name=name)(tokens_BSD).reshape(shape_BSHd)
            for name in ("query", "key", "value")
        )
        bias_1HSS = shared_bias_1HSS
        if self.grid is not None:
            own_bias_1HSS = RelativePositionBias(self.heads, self.grid, name="relative_position_bias")(grid)
            bias_1HSS = own_bias_1HSS if bias_1HSS is None else own_bias_1HSS + bias_1HSS
        # the fused form has neither maps nor dropout
        if not output_attentions and not (train and self.dropout):
            context_BSHd = kernels.attention(query_BSHd, key_BSHd, value_BSHd, bias_1HSS)
            return context_BSHd.reshape(B, S, D), None
        maps_BHSS = kernels.attention_maps(query_BSHd, key_BSHd, bias_1HSS)
        maps_BHSS = nn.Dropout(self.dropout)(maps_BHSS, deterministic=not train)
        context_BSHd = jnp.einsum("bhqk,bkhd->bqhd", maps_BHSS, value_BSHd)
        return context_BSHd.reshape(B, S, D), maps_BHSS if output_attentions else None


class Attention(nn.Module):
    """Multi-head self-attention with its output projection.

    Attributes:
        heads: Number of heads.
        grid: The grid of this layer's own relative position bias, None if it has none.
        dropout: Dropout of attention probabilities.
        out_dropout: Dropout of the result.
        dtype: Type of the computation.
    """

    heads: int
    grid: Grid | None = None
    dropout: float = 0.0
    out_dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        tokens_BSD: Array,
        grid: Grid,
        shared_bias_1HSS: Array | None = None,
        gamma_D: Array | None = None,
        kept_B11: Array | None = None,
        output_attentions: bool = False,
        train: bool = False,
    ) -> tuple[Array, Array | None]:
        """Return the branch (B, S, D), and the attention maps (B, H, S, S) if asked for.

        Args:
            tokens_BSD: Normalised tokens.
            grid: The patch grid.
            shared_bias_1HSS: A bias that all layers share, added to this layer's own.
            gamma_D: Layer scale of the branch.
            kept_B11: Drop path of the branch.
            output_attentions: Whether to return the maps, which costs the fused form.
            train: Whether dropout is on.
        """
        attend = SelfAttention(self.heads, self.grid, self.dropout, self.dtype, name="attention")
        context_BSD, maps_BHSS = attend(tokens_BSD, grid, shared_bias_1HSS, output_attentions, train)
        output = Projection(tokens_BSD.shape[-1], self.dtype, name="output")
        branch_BSD = output(context_BSD, gamma_D, kept_B11, train)
        return nn.Dropout(self.out_dropout)(branch_BSD, deterministic=not train), maps_BHSS
