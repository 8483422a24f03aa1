"""Pictures as arrays: float32, channels first.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

HALF = (0.5, 0.5, 0.5)  # mean and std of every published BEiT but the ImageNet-1K pre-training


def to_unit_array(picture: Image.Image) -> Floats:
    """Return an RGB picture as (3, H, W) in [0, 1]."""
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) * np.float32(1 / 255)


def normalise(unit_CHW: Floats, mean: Sequence[float] = HALF, std: Sequence[float] = HALF) -> Floats:
    """Return (pixels - mean) / std per channel."""
    mean_C11 = np.asarray(mean, dtype=np.float32)[:, None, None]
    std_C11 = np.asarray(std, dtype=np.float32)[:, None, None]
    return (unit_CHW - mean_C11) / std_C11
