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
from beit.image import AnyPicture, BandOptions, Bands, as_rgb, endings_of, picture_files, read_picture
from beit.image.band_reading import bands_of, numbers_of, with_channels
from beit.image.input_types import content_of, load_upright, to_array, to_picture
from beit.image.steps import to_eight_bits
from beit.image.value_range import in_unit_range

Picture = Any  # a Pillow image, a path, the bytes of a file, an array or tensor; where several may be, also a folder
_CHANNELS = (1, 3)
_PICTURE = "the picture"  # in messages, of one without a name


def to_rgb(picture: Picture) -> Image.Image:
    """Return a picture as an upright RGB image of 8 bits; see `to_colours`.

    Raises:
        ConfigError: If it is no picture at all.
        DataError: If it is missing, broken, or its numbers are out of range.
    """
    return as_rgb(to_colours(picture))


def to_colours(picture: Picture) -> AnyPicture:
    """Return a picture in three channels, upright: RGB, or `Bands` if it has more than 8 bits.

    Args:
        picture: A Pillow image, a path, the bytes of a file, or an array (H, W), (H, W, C) or (C, H, W) of whole
            numbers in 0..255 or real numbers in 0..1, of one or three channels.

    Raises:
        ConfigError: If it is no picture at all.
        DataError: If it is missing, broken, or its numbers are out of range.
    """
    content = picture if isinstance(picture, Bands) else to_picture(picture, None).content
    if isinstance(content, Image.Image | Bands):
        return content
    pixels_HWC, _ = to_eight_bits(content)
    height, width, channels = pixels_HWC.shape
    if channels not in _CHANNELS:
        raise DataError(
            f"the picture is an array of {channels} channels; expected 1 (grey) or 3 (RGB): leave out others"
        )
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels_HWC, (height, width, 3))))


def to_bands(picture: Picture, options: BandOptions) -> AnyPicture:
    """Return a picture as a model of other than three channels, or of a range of values, reads it.

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
        return read_picture(os.fspath(picture), bands=options)
    if isinstance(picture, bytes | bytearray | memoryview):
        return read_picture(bytes(picture), _PICTURE, bands=options)
    if hasattr(picture, "read") and not isinstance(picture, Image.Image):
        return read_picture(content_of(picture), _PICTURE, bands=options)
    if isinstance(picture, Image.Image):
        return bands_of(numbers_of(load_upright(picture, "picture"), b"", _PICTURE), _PICTURE, options)[0]
    values = with_channels(to_array(picture, "picture"), _PICTURE, options.channels)
    return Bands.of_array(in_unit_range(values, _PICTURE, options.value_range))


def to_input(picture: Picture, bands: BandOptions | None) -> AnyPicture:
    """Return a picture as preprocessing takes it: RGB, or of other channels if `bands` says how they are read."""
    return to_colours(picture) if bands is None else to_bands(picture, bands)


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
