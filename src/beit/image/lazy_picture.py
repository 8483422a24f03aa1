"""Lazy pictures: size known before decoding, and several formats are read at a reduced size where that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from beit.files import read_regular
from beit.image.band_reading import is_for_bands, read_bands
from beit.image.bands import COLOURS, AnyPicture, BandOptions, Box, as_rgb
from beit.image.depth import is_deep, nodata_in
from beit.image.formats import MOST_BYTES, opened_picture
from beit.image.jpeg_2000 import halvings
from beit.image.large import most_pixels, too_large
from beit.image.reading import check_side, check_single, choose_frame, explained, orientation_of, upright_rgb
from beit.image.tiff import is_tiff
from beit.image.tiff_pyramid import Level, level_content, levels_of
from beit.image.value_range import is_absent, say_absent

_COLOURS = BandOptions(COLOURS)
NUMBERS = ("L", "LA", "RGB", "RGBA")  # modes whose channels are the numbers in the file
_TURNED = {5, 6, 7, 8}  # height and width change places
# A decoder rounds up at the right and at the bottom of the picture as stored: upright, that may be left or top.
_ROUNDED_LEFT = {2, 3, 6, 7}
_ROUNDED_TOP = {3, 4, 7, 8}
REDUCTIONS = (8, 4, 2)


@dataclass(frozen=True)
class Decoded:
    """Decoded upright picture, with the place of its edges in the pixels of the whole picture.

    A reduced picture of 63 pixels covers 504 at one eighth, four of which a picture of 500 does not have.

    Attributes:
        picture: The pixels.
        extent: Left, top, right and bottom edge.
        absent_HWC: Where it has no measurement and is black; None: nowhere, or mirrored since.
    """

    picture: AnyPicture
    extent: Box
    absent_HWC: NDArray[np.bool_] | None = None

    def mirrored(self, width: int) -> Decoded:
        """Return the picture flipped from left to right; `width` is that of the whole picture."""
        left, top, right, bottom = self.extent
        flipped = self.picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return Decoded(flipped, (width - right, top, width - left, bottom))

    def box(self, whole: Box) -> Box:
        """Return a box of the whole picture in the pixels of this one."""
        left, top, right, bottom = self.extent
        if (right - left, bottom - top) == self.picture.size:  # not reduced: no rounding
            return whole
        across, down = self.picture.width / (right - left), self.picture.height / (bottom - top)
        return (
            max(0.0, (whole[0] - left) * across),
            max(0.0, (whole[1] - top) * down),
            min(float(self.picture.width), (whole[2] - left) * across),
            min(float(self.picture.height), (whole[3] - top) * down),
        )


class LazyPicture(Protocol):
    """Picture with known height and width, decoded on request at the resolution that is needed."""

    @property
    def height(self) -> int:
        """Height of the whole picture, upright, in pixels."""
        ...

    @property
    def width(self) -> int:
        """Width of the whole picture, upright, in pixels."""
        ...

    @property
    def orientation(self) -> int:
        """EXIF orientation that it was turned upright from: 1 for none."""
        ...

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture, with one pixel for at most so many of the whole one in each direction.

        Raises:
            DataError: If it is broken.
        """
        ...


class LoadedPicture:
    """Lazy picture that is decoded already."""

    def __init__(
        self, picture: AnyPicture, orientation: int = 1, absent_HWC: NDArray[np.bool_] | None = None
    ) -> None:  # fmt: skip
        self._picture, self.orientation, self._absent_HWC = picture, orientation, absent_HWC
        self.height, self.width = picture.height, picture.width

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the whole picture."""
        return Decoded(self._picture, (0, 0, self.width, self.height), self._absent_HWC)


class JpegPicture:
    """Lazy picture in the bytes of a JPEG, whose decoder can leave out the finer parts of each block of 8 x 8.

    Args:
        content: The bytes.
        image: The picture, opened, at the frame that is asked for.
        name: Name of the picture in messages.
        frame: Which of the pictures that a camera has put into one file; None: the first.
    """

    def __init__(self, content: bytes, image: Image.Image, name: object, frame: int | None = None) -> None:
        self._content, self._name, self._frame = content, name, frame
        self.orientation = orientation_of(image)
        turned = self.orientation in _TURNED
        self.height, self.width = (image.width, image.height) if turned else (image.height, image.width)

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture, decoded at 1/8, 1/4 or 1/2 of its size if that is enough."""
        reduction = _reduction(pixels_per_pixel, self.height, self.width)
        with explained(self._name), opened_picture(self._content) as image:
            image.seek(self._frame or 0)
            if reduction > 1:
                image.draft(None, (image.width // reduction, image.height // reduction))
            picture = upright_rgb(image)
        surplus_right = picture.width * reduction - self.width
        surplus_bottom = picture.height * reduction - self.height
        left = -surplus_right if self.orientation in _ROUNDED_LEFT else 0
        top = -surplus_bottom if self.orientation in _ROUNDED_TOP else 0
        return Decoded(picture, (left, top, left + picture.width * reduction, top + picture.height * reduction))


class Jpeg2000Picture:
    """Lazy picture in the bytes of a JPEG 2000, whose decoder can leave out the finest wavelets; upright.

    What is left of 8 x 8 pixels lies where the first of them does, not in their middle.
    """

    orientation = 1

    def __init__(self, content: bytes, image: Image.Image, name: object) -> None:
        self._content, self._name = content, name
        self.height, self.width = image.height, image.width
        self._most = 2 ** halvings(content)

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture, decoded at 1/8, 1/4 or 1/2 of its size if that is enough."""
        reduction = _reduction(pixels_per_pixel, self.height, self.width)
        while reduction > self._most or not all(_is_rounded_up(side, reduction) for side in (self.height, self.width)):
            reduction //= 2
        with explained(self._name), opened_picture(self._content) as image:
            if reduction > 1:
                halved: Any = image
                halved.reduce = reduction.bit_length() - 1
            picture = upright_rgb(image)
        if reduction == 1:
            return Decoded(picture, (0, 0, self.width, self.height))
        edge = (1 - reduction) / 2
        return Decoded(picture, (edge, edge, edge + picture.width * reduction, edge + picture.height * reduction))


def _is_rounded_up(side: int, reduction: int) -> bool:
    """Return whether the nearest whole number to a reduced side, which Pillow expects, is that of the decoder."""
    return (side + reduction // 2) // reduction == -(-side // reduction)


def reduces(pixels_per_pixel: float, height: int, width: int) -> bool:
    """Return whether a JPEG, of either kind, of that size may be decoded at less than its size, to other pixels."""
    return _reduction(pixels_per_pixel, height, width) > 1


def _reduction(pixels_per_pixel: float, height: int, width: int) -> int:
    return next((r for r in REDUCTIONS if r <= min(pixels_per_pixel, height, width)), 1)


class PyramidPicture:
    """Lazy picture in the bytes of a TIFF with smaller versions of it, one of which may be enough; upright.

    Args:
        content: The bytes.
        levels: The picture, and its smaller versions.
        name: Name of the picture in messages.
        bands: Reading of the picture and its versions.
    """

    orientation = 1

    def __init__(self, content: bytes, levels: Sequence[Level], name: object, bands: BandOptions) -> None:
        self._content, self._levels, self._name, self._bands = content, levels, name, bands
        self.height, self.width = levels[0].height, levels[0].width

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture, or the smallest of its versions that is enough."""
        spare = max(1.0, pixels_per_pixel)
        enough = [
            level for level in self._levels if self.width <= level.width * spare and self.height <= level.height * spare
        ]
        level = min(enough, key=lambda level: (level.width, level.height))
        content = self._content if level is self._levels[0] else level_content(self._content, level)
        decoded = _open_plain(content, self._name, self._bands).decode()
        return replace(decoded, extent=(0, 0, self.width, self.height))


def open_image(content: bytes, name: object, min_side: int = 1, bands: BandOptions | None = None) -> LazyPicture:
    """Return the picture in the bytes of an image file; JPEG, JPEG 2000, and TIFF with overviews wait to be decoded.

    Args:
        content: The bytes.
        name: Name of the picture in messages; made into text only for one.
        min_side: Smallest height and width to accept, in pixels.
        bands: How pictures of other than three channels, of a range or of several frames are read; None: as RGB, which
            is `Bands` where it has more than 8 bits.

    Raises:
        DataError: If it is no picture, too small, or, unless it waits, broken.
    """
    options = bands or _COLOURS
    levels = levels_of(content) if is_tiff(content) and options.frame is None else []
    if levels and levels[0].width * levels[0].height > most_pixels():
        raise too_large(name)
    picture = PyramidPicture(content, levels, name, options) if levels else _open_plain(content, name, options)
    check_side(picture.height, picture.width, name, min_side)
    return picture


def _open_plain(content: bytes, name: object, options: BandOptions) -> LazyPicture:
    """Return a picture of which a TIFF holds no smaller versions, or none that matters."""
    with explained(name):
        special = options.channels != COLOURS or is_for_bands(content)
    if special:
        return LoadedPicture(*read_bands(content, name, options))
    with explained(name), opened_picture(content) as image:
        choose_frame(image, options.frame, name)
        if image.format in ("JPEG", "MPO"):  # some other formats show their final size only when decoded
            return JpegPicture(content, image, name, options.frame)
        if is_deep(image):
            return LoadedPicture(*read_bands(content, name, options))
        orientation = orientation_of(image)
        if image.format == "JPEG2000" and orientation == 1:
            return Jpeg2000Picture(content, image, name)
        picture, absent_HWC = measured(image, name)
        return LoadedPicture(picture, orientation, absent_HWC)


def measured(image: Image.Image, name: object) -> tuple[Image.Image, NDArray[np.bool_] | None]:
    """Return an opened picture as RGB, upright, and where it is black as there is no measurement (a TIFF may say)."""
    nodata = nodata_in(image) if image.mode in NUMBERS else None
    picture = upright_rgb(image)
    if nodata is None:
        return picture, None
    values_HWC = np.asarray(picture)
    if not (absent_HWC := is_absent(values_HWC, nodata)).any():
        return picture, None
    if nodata == 0:  # black already
        return picture, absent_HWC
    say_absent(name, nodata, float(absent_HWC.mean()))
    return Image.fromarray(np.where(absent_HWC, np.uint8(0), values_HWC)), absent_HWC


def read_picture(
    source: str | Path | bytes, name: str = "", min_side: int = 1, bands: BandOptions | None = None
) -> AnyPicture:
    """Return a picture upright: RGB, or `Bands` if it has more than 8 bits per channel.

    Args:
        source: A path, or the bytes of an image file.
        name: What to call the picture in messages; default: its path.
        min_side: Smallest height and width to accept, in pixels.
        bands: Reading of pictures of other than three channels, see `open_image`.

    Raises:
        DataError: If the file is missing, truncated, too small, animated, no picture, or a decompression bomb.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "picture")
    picture = _ordinary(source, name) if bands is None else None
    if picture is None:
        with explained(name):
            content = source if isinstance(source, bytes) else read_regular(source, MOST_BYTES)
        return open_image(content, name, min_side, bands).decode().picture
    check_side(picture.height, picture.width, name, min_side)
    return picture


def _ordinary(source: str | Path | bytes, name: str) -> Image.Image | None:
    """Return a picture of 8 bits; None of what other libraries read, or Pillow only in part."""
    try:
        with explained(name, UnidentifiedImageError), opened_picture(source) as image:
            if is_deep(image) or image.format == "TIFF":
                return None
            check_single(image, name)
            return upright_rgb(image)
    except UnidentifiedImageError:
        return None


def read_image(source: str | Path | bytes, name: str = "", min_side: int = 1) -> Image.Image:
    """Return a picture as RGB of 8 bits, upright; see `read_picture`.

    Raises:
        DataError: If the file is missing, truncated, too small, animated, no picture, or a decompression bomb.
    """
    return as_rgb(read_picture(source, name, min_side))
