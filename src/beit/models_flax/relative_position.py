"""Relative position bias: a table per head, looked up for every pair of tokens, at any grid.

Legend: N patches, S = 1 + N tokens, H heads.
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
from beit.models_flax.uninitialised import UNSET


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
