"""Pictures in every accepted form (images, paths, bytes, arrays, folders), opened one at a time.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beit.errors import BeitError, DataError
from beit.image import picture_files
from beit.image.input_types import to_picture
from beit.image.steps import to_eight_bits

Picture = Any  # a Pillow image, a path, the bytes of a file, an array or tensor; where several may be, also a folder
_CHANNELS = (1, 3)


def to_rgb(picture: Picture) -> Image.Image:
    """Return a picture as an upright RGB image of 8 bits.

    Args:
        picture: A Pillow image, a path, the bytes of a file, or an array (H, W), (H, W, C) or (C, H, W) of whole
            numbers in 0..255 or real numbers in 0..1, of one or three channels.

    Raises:
        ConfigError: If it is no picture at all.
        DataError: If it is missing, broken, or its numbers are out of range.
    """
    content = to_picture(picture, None).content
    if isinstance(content, Image.Image):
        return content
    pixels_HWC, _ = to_eight_bits(content)
    height, width, channels = pixels_HWC.shape
    if channels not in _CHANNELS:
        raise DataError(
            f"the picture is an array of {channels} channels; expected 1 (grey) or 3 (RGB): leave out others"
        )
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels_HWC, (height, width, 3))))


def each_picture(pictures: Picture | Iterable[Picture]) -> list[Picture]:
    """Return the pictures of a picture, a folder, or several of either, unopened; those of a folder by their paths.

    Raises:
        DataError: If a folder has none.
    """
    if isinstance(pictures, str | os.PathLike):
        place = Path(pictures)
        return list(picture_files(place)) if place.is_dir() else [pictures]
    if isinstance(pictures, list | tuple):
        return [picture for item in pictures for picture in each_picture(item)]
    if getattr(pictures, "ndim", 0) == 4:  # an array of several
        return list(pictures)
    return [pictures]


def opened(pictures: list[Picture]) -> Iterator[tuple[Image.Image, Path | None]]:
    """Yield pictures as RGB, each with its file if it has one.

    One of several that cannot be opened is named by its place.

    Raises:
        ConfigError: If one is no picture at all.
        DataError: If one is missing or broken.
    """
    for index, picture in enumerate(pictures):
        try:
            yield to_rgb(picture), Path(picture) if isinstance(picture, str | os.PathLike) else None
        except BeitError as error:
            if len(pictures) == 1 or isinstance(picture, str | os.PathLike):  # paths are in the message already
                raise
            raise type(error)(f"pictures[{index}]: {error}") from None
