"""Decoding of uploads to pictures, with every limit checked before a pixel is decoded."""

from __future__ import annotations

from PIL import Image, UnidentifiedImageError

from beit.image import AnyPicture, BandOptions, explained, opened_picture, read_picture
from beit.service.errors import ServiceError

_MOST_TIMES = 20  # of the longer side to the shorter
_NAME = "the file"  # as the form calls it


def decode(upload: bytes, max_pixels: int, bands: BandOptions | None = None) -> AnyPicture:
    """Return an uploaded picture upright, as RGB or as a model of other channels reads it.

    Args:
        upload: The file.
        max_pixels: Most height times width to accept.
        bands: How a model reads pictures of other than three channels; None: as RGB.

    Raises:
        ServiceError: If it has too many pixels, or is too long for its width.
        DataError: If it is no picture of a known format, broken or animated.
    """
    try:
        known = (ServiceError, Image.DecompressionBombError, UnidentifiedImageError)
        with explained(_NAME, *known), opened_picture(upload) as image:
            _check_size(image.height, image.width, max_pixels)
    except Image.DecompressionBombError:
        raise _too_large(f"more pixels than Pillow opens ({Image.MAX_IMAGE_PIXELS} twice)", max_pixels) from None
    except UnidentifiedImageError:  # other libraries may know it
        pass
    picture = read_picture(upload, _NAME, bands=bands)
    _check_size(picture.height, picture.width, max_pixels)
    return picture


def _check_size(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise _too_large(f"{height} x {width} pixels", max_pixels)
    if max(height, width) > _MOST_TIMES * min(height, width):
        raise ServiceError(
            400, f"{_NAME} is {height} x {width} pixels; expected sides of at most {_MOST_TIMES} to 1, crop it"
        )


def _too_large(size: str, max_pixels: int) -> ServiceError:
    return ServiceError(413, f"{_NAME} has {size}; expected at most {max_pixels} in all, send a smaller one")
