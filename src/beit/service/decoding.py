"""Decoding of uploads to pictures, with every limit checked before a pixel is decoded."""

from __future__ import annotations

import io

from PIL import Image

from beit.image.reading import check_single, explained, upright_rgb
from beit.service.errors import ServiceError

# No others: Pillow would run Ghostscript for EPS. MPO, of cameras, is opened as JPEG.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MOST_TIMES = 20  # of the longer side to the shorter
_NAME = "the file"  # as the form calls it


def decode(upload: bytes, max_pixels: int) -> Image.Image:
    """Return an uploaded picture as RGB, upright.

    Args:
        upload: The file.
        max_pixels: Most height times width to accept.

    Raises:
        ServiceError: If it has too many pixels, or is too long for its width.
        DataError: If it is no picture of a known format, broken or animated.
    """
    with _opened(upload, max_pixels) as image:
        _check_size(image.height, image.width, max_pixels)
        with explained(_NAME):
            check_single(image, _NAME)
            return upright_rgb(image, _NAME)


def _opened(upload: bytes, max_pixels: int) -> Image.Image:
    """Read the header alone."""
    with explained(_NAME):
        try:
            return Image.open(io.BytesIO(upload), formats=FORMATS)
        except Image.DecompressionBombError:
            too_large = f"more pixels than Pillow opens ({Image.MAX_IMAGE_PIXELS} twice)"
    raise _too_large(too_large, max_pixels)


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise _too_large(f"{height} x {width} pixels", max_pixels)
    if max(height, width) > _MOST_TIMES * min(height, width):
        raise ServiceError(
            400, f"{_NAME} is {height} x {width} pixels; expected sides of at most {_MOST_TIMES} to 1, crop it"
        )


def _too_large(size: str, max_pixels: int) -> ServiceError:
    return ServiceError(413, f"{_NAME} has {size}; expected at most {max_pixels} in all, send a smaller one")
