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
from beit.files import read_regular
from beit.image import MOST_BYTES, AnyPicture, BandOptions, Bands, endings_of, explained, picture_files
from beit.image.band_reading import image_values, in_unit_range, read_bands, with_channels
from beit.image.input_types import load_upright, to_array, to_picture
from beit.image.steps import to_eight_bits

Picture = Any  # a Pillow image, a path, the bytes of a file, an array or tensor; where several may be, also a folder
_CHANNELS = (1, 3)
_PICTURE = "the picture"  # in messages, of one without a name


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


def to_bands(picture: Picture, options: BandOptions) -> Bands:
    """Return a picture of other than three channels.

    Args:
        picture: `Bands`, a Pillow image, a path, the bytes of a file, or an array (H, W, C); grey also (H, W).
        options: Its channels, and the range of its values.

    Raises:
        ConfigError: If it is no picture at all.
        DataError: If it is missing or broken, or has other channels or values.
    """
    if isinstance(picture, Bands):
        return picture
    if isinstance(picture, str | os.PathLike):
        return _from_file(os.fspath(picture), options)
    if isinstance(picture, bytes | bytearray | memoryview):
        return read_bands(bytes(picture), _PICTURE, options)
    if isinstance(picture, Image.Image):
        values = image_values(load_upright(picture, "picture"), _PICTURE, options.channels)
    else:
        values = with_channels(to_array(picture, "picture"), _PICTURE, options.channels)
    return Bands.of_array(in_unit_range(values, _PICTURE, options.value_range))


def _from_file(path: str, options: BandOptions) -> Bands:
    with explained(path):
        content = read_regular(path, MOST_BYTES)
    return read_bands(content, path, options)


def to_input(picture: Picture, bands: BandOptions | None) -> AnyPicture:
    """Return a picture as preprocessing takes it: RGB, or of other channels if `bands` says how they are read."""
    return to_rgb(picture) if bands is None else to_bands(picture, bands)


def each_picture(pictures: Picture | Iterable[Picture], bands: BandOptions | None = None) -> list[Picture]:
    """Return the pictures of a picture, a folder, or several of either, unopened; those of a folder by their paths.

    Raises:
        DataError: If a folder has none.
    """
    if isinstance(pictures, str | os.PathLike):
        place = Path(pictures)
        return list(picture_files(place, endings_of(bands))) if place.is_dir() else [pictures]
    if isinstance(pictures, list | tuple):
        return [picture for item in pictures for picture in each_picture(item, bands)]
    if getattr(pictures, "ndim", 0) == 4:  # an array of several
        return list(pictures)
    return [pictures]


def opened(pictures: list[Picture], bands: BandOptions | None = None) -> Iterator[tuple[AnyPicture, Path | None]]:
    """Yield pictures as `to_input` makes them, each with its file if it has one.

    One of several that cannot be opened is named by its place.

    Raises:
        ConfigError: If one is no picture at all.
        DataError: If one is missing or broken.
    """
    for index, picture in enumerate(pictures):
        try:
            yield to_input(picture, bands), Path(picture) if isinstance(picture, str | os.PathLike) else None
        except BeitError as error:
            if len(pictures) == 1 or isinstance(picture, str | os.PathLike):  # paths are in the message already
                raise
            raise type(error)(f"pictures[{index}]: {error}") from None
