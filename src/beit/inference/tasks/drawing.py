"""Helpers of the tasks' drawings: heat maps, pictures beside each other, PNGs as text.

Legend: h x w cells of a map, H x W pixels.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG = "base64 of a PNG"  # as OpenAPI describes what `png_text` returns
# Anchors of matplotlib's "inferno": dark where there is little, bright where there is much, also in grey print.
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float64)


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """Return pictures from left to right on white."""
    whole = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole


def png_text(image: Image.Image) -> str:
    """Return a picture as a PNG in base64."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)  # a tenth of the time of the default, a little larger
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def heat_overlay(picture: Image.Image, values_hw: NDArray[np.float32], opacity: float = 0.6) -> Image.Image:
    """Return a picture under the colours of a map, whose largest value is brightest; cells are blended smoothly.

    Args:
        picture: RGB, of any size.
        values_hw: Numbers, none below 0.
        opacity: Of the colours, 0 to 1.
    """
    most = float(values_hw.max())
    shares_hw = values_hw / most if most > 0 else values_hw
    spread = Image.fromarray(shares_hw.astype(np.float32)).resize(picture.size, Image.Resampling.BILINEAR)
    shares_HW = np.asarray(spread)
    steps = np.linspace(0, 1, len(_COLOURS))
    colours_HW3 = np.stack([np.interp(shares_HW, steps, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
    return Image.blend(picture.convert("RGB"), Image.fromarray(np.rint(colours_HW3).astype(np.uint8)), opacity)
