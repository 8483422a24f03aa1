"""Masks of the patches of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from beit.geometry import Grid, block_masks, random_masks


@dataclass(frozen=True)
class MaskPlan:
    """Kind and size of masks: see `beit.geometry.block_masks`, and `random_masks` for the kind "random".

    Attributes:
        grid: The patch grid.
        count: Most masked patches; all masks of the kind "random", and those that are `exact`, have as many.
        min_block: Smallest block, in patches.
        min_aspect: Smallest height over width of a block.
        exact: Whether blocks are filled up to `count`.
        kind: Blocks, or single patches.
    """

    grid: Grid
    count: int
    min_block: int
    min_aspect: float = 0.3
    exact: bool = False
    kind: Literal["block", "random"] = "block"

    def draw(self, rngs: Sequence[np.random.Generator]) -> NDArray[np.bool_]:
        """Return a mask for each generator, (B, height, width); True = masked.

        Raises:
            ConfigError: If the grid has no room for such masks.
        """
        if self.kind == "random":
            return random_masks(self.grid, self.count, rngs)
        return block_masks(
            self.grid, self.count, rngs, min_block=self.min_block, min_aspect=self.min_aspect, exact=self.exact
        )
