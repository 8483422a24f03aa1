"""Relative position index: the entry of the bias table for each pair of tokens.

Legend: N patches, S = 1 + N tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from beit.geometry.grid import Grid, num_relative_positions


def relative_position_index(grid: Grid) -> NDArray[np.int64]:
    """Return the (S, S) table rows for all pairs (query token, key token), S = 1 + patches, [CLS] first.

    The offset (dy, dx) from key to query is row (dy + height - 1) * (2 * width - 1) + (dx + width - 1); the last three
    rows are cls-to-patch, patch-to-cls and cls-to-cls.

    Source: arXiv 2106.08254, section 2.3; the row order of the original implementation.
    """
    y_N, x_N = np.divmod(np.arange(grid.patches), grid.width)
    dy_NN = y_N[:, None] - y_N[None, :] + grid.height - 1
    dx_NN = x_N[:, None] - x_N[None, :] + grid.width - 1
    rows = num_relative_positions(grid)
    index_SS = np.empty((grid.patches + 1, grid.patches + 1), dtype=np.int64)
    index_SS[1:, 1:] = dy_NN * (2 * grid.width - 1) + dx_NN
    index_SS[0, 1:] = rows - 3
    index_SS[1:, 0] = rows - 2
    index_SS[0, 0] = rows - 1
    return index_SS
