"""Random masks of single patches, the baseline of block-wise masking.

Legend: B masks, h x w patches, N = h * w.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from beit.errors import ConfigError
from beit.geometry.grid import Grid


def random_masks(grid: Grid, count: int, rngs: Sequence[np.random.Generator]) -> NDArray[np.bool_]:
    """Return masks (B, height, width) of exactly `count` patches each; True = masked, hidden from the model.

    Args:
        grid: The patch grid.
        count: Masked patches per mask.
        rngs: One generator per mask.

    Raises:
        ConfigError: If `count` is not in [1, patches].

    Source: the ablation "without blockwise masking" of arXiv 2106.08254, section 3.3.
    """
    if not 1 <= count <= grid.patches:
        raise ConfigError(f"{count} masked patches; expected 1 to {grid.patches}, the patches of a {grid} grid")
    order_BN = np.stack([rng.random(grid.patches) for rng in rngs]).argsort(axis=1)
    mask_BN = np.zeros(order_BN.shape, dtype=bool)
    np.put_along_axis(mask_BN, order_BN[:, :count], True, axis=1)
    return mask_BN.reshape(-1, grid.height, grid.width)
