"""Range of the values of deep grey, as a TIFF declares it: 12 bits in a file of 16, numbers of 32 bits, real numbers.

Legend: H x W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

_TAGS = ((280, 281), (340, 341))  # the least and the greatest sample, as whole numbers and in the samples' own type
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L")
Span = tuple[float, float]  # the values that become black and white


def declared_range(image: Image.Image) -> Span | None:
    """Return the range of the values of deep grey that the tags of its TIFF declare; None if they declare none."""
    tags: Any = getattr(image, "tag_v2", None)
    if image.mode not in _DEEP or tags is None:
        return None
    for least, greatest in _TAGS:
        low, high = _number(tags.get(least, 0)), _number(tags.get(greatest))
        if low is not None and high is not None and high > low:
            return low, high
    return None


def _number(value: Any) -> float | None:
    """Return the value of a tag, of several samples the first; None for nothing and for what is no number."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def grey_of_range(image: Image.Image, span: Span) -> Image.Image:
    """Return deep grey with 8 bits: the range from black to white, and what is beyond it cut off."""
    low, high = span
    share_HW = (np.asarray(image).astype(np.float64) - low) / (high - low)
    return Image.fromarray(np.rint(np.nan_to_num(share_HW).clip(0, 1) * 255).astype(np.uint8))
