"""Patch grid of an image, and the relative positions in it: the entry of the bias table for each pair of tokens.

Legend: N patches, S = 1 + N tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from beit.config import Size, pair


class Grid(NamedTuple):
    """A grid of patches: height and width, counted in patches."""

    height: int
    width: int

    @property
    def patches(self) -> int:
        """Number of patches N."""
        return self.height * self.width


def patch_grid(image_size: Size, patch_size: Size) -> Grid:
    """Return the grid of the whole patches of an image, both sizes in pixels: an int or (height, width)."""
    image_hw, patch_hw = pair(image_size), pair(patch_size)
    return Grid(image_hw[0] // patch_hw[0], image_hw[1] // patch_hw[1])


def num_relative_positions(grid: Grid) -> int:
    """Return the rows of a bias table: one per offset between two patches, and three for [CLS]."""
    # +3: cls-to-patch, patch-to-cls and cls-to-cls each own one bias
    return (2 * grid.height - 1) * (2 * grid.width - 1) + 3


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
