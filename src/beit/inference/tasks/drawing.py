"""Helpers of the tasks' drawings: pictures beside each other, PNGs as text."""

from __future__ import annotations

import base64
import io

from PIL import Image

PNG = "base64 of a PNG"  # as OpenAPI describes what `png_text` returns


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
