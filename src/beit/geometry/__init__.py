"""Arithmetic on patch grids, in numpy, shared by both frameworks."""

from beit.geometry.block_mask import block_masks
from beit.geometry.grid import Grid, num_relative_positions, patch_grid
from beit.geometry.random_mask import random_masks
from beit.geometry.relative_position import relative_position_index
from beit.geometry.resampling import (
    BIAS_RESIZE,
    bias_offsets,
    resize_bias_table,
    resize_positions,
)

__all__ = [
    "BIAS_RESIZE",
    "Grid",
    "bias_offsets",
    "block_masks",
    "num_relative_positions",
    "patch_grid",
    "random_masks",
    "relative_position_index",
    "resize_bias_table",
    "resize_positions",
]
