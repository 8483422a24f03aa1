"""Arithmetic on patch grids, in numpy, shared by both frameworks."""

from beit.geometry.grid import Grid, num_relative_positions, patch_grid, relative_position_index
from beit.geometry.masks import PAPER_MASKS, MaskPlan, block_masks, random_masks
from beit.geometry.resampling import (
    BIAS_RESIZE,
    bias_offsets,
    resize_bias_table,
    resize_positions,
)

__all__ = [
    "BIAS_RESIZE",
    "PAPER_MASKS",
    "Grid",
    "MaskPlan",
    "bias_offsets",
    "block_masks",
    "num_relative_positions",
    "patch_grid",
    "random_masks",
    "relative_position_index",
    "resize_bias_table",
    "resize_positions",
]
