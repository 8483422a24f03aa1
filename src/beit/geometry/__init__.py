"""Pure arithmetic on patch grids, in numpy, shared by both frameworks."""

from beit.geometry.block_mask import block_masks
from beit.geometry.grid import Grid, patch_grid
from beit.geometry.relative_position import num_relative_positions, relative_position_index

__all__ = ["Grid", "block_masks", "num_relative_positions", "patch_grid", "relative_position_index"]
