"""Random erasing (arXiv 1708.04896): a box of a picture becomes noise, pixel by pixel.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

from math import exp, log

import numpy as np

from beit.image.arrays import Floats

_AREA = (0.02, 1 / 3)
_LEAST_ASPECT = 0.3
_ATTEMPTS = 10


def erased(pixels_CHW: Floats, probability: float, rng: np.random.Generator) -> Floats:
    """Return a normalised picture, with the given probability with one box of standard normal noise in it.

    The box has 2 % to a third of the area and an aspect ratio from 0.3 to 1/0.3, log-uniform; none if no box of ten
    fits. Drawn in this order: if at all; area and aspect of each attempt; top, left; the noise.

    Source: timm's `RandomErasing` in the mode "pixel", as the original fine-tuning uses it.
    """
    if probability == 0 or rng.random() >= probability:
        return pixels_CHW
    channels, height, width = pixels_CHW.shape
    for _ in range(_ATTEMPTS):
        area = height * width * rng.uniform(*_AREA)
        aspect = exp(rng.uniform(log(_LEAST_ASPECT), -log(_LEAST_ASPECT)))
        rows, columns = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if rows < height and columns < width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            changed = pixels_CHW.copy()
            noise = rng.standard_normal((channels, rows, columns), dtype=np.float32)
            changed[:, top : top + rows, left : left + columns] = noise
            return changed
    return pixels_CHW
