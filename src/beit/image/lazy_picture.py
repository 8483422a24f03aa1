"""Lazy pictures: size known before decoding, and JPEGs decoded at a reduced size where that is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from beit.image.band_reading import read_bands
from beit.image.bands import AnyPicture, BandOptions, Box
from beit.image.formats import opened_picture
from beit.image.reading import check_side, check_single, explained, upright_rgb

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_TURNED = {5, 6, 7, 8}  # height and width change places
# A decoder rounds up at the right and at the bottom of the picture as stored: upright, that may be left or top.
_ROUNDED_LEFT = {2, 3, 6, 7}
_ROUNDED_TOP = {3, 4, 7, 8}
REDUCTIONS = (8, 4, 2)


@dataclass(frozen=True)
class Decoded:
    """Decoded upright picture, with the place of its edges in the pixels of the whole picture.

    A reduced picture of 63 pixels covers 504 at one eighth, four of which a picture of 500 does not have.
    """

    picture: AnyPicture
    extent: Box

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

    def __init__(self, picture: AnyPicture, orientation: int = 1) -> None:
        self._picture, self.orientation = picture, orientation
        self.height, self.width = picture.height, picture.width

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the whole picture."""
        return Decoded(self._picture, (0, 0, self.width, self.height))


class JpegPicture:
    """Lazy picture in the bytes of a JPEG, whose decoder can leave out the finer parts of each block of 8 x 8."""

    def __init__(self, content: bytes, image: Image.Image, name: object) -> None:
        self._content, self._name = content, name
        self.orientation = image.getexif().get(_ORIENTATION, 1)
        turned = self.orientation in _TURNED
        self.height, self.width = (image.width, image.height) if turned else (image.height, image.width)

    def decode(self, pixels_per_pixel: float = 1.0) -> Decoded:
        """Return the picture, decoded at 1/8, 1/4 or 1/2 of its size if that is enough."""
        reduction = _reduction(pixels_per_pixel, self.height, self.width)
        with explained(self._name), opened_picture(self._content) as image:
            if reduction > 1:
                image.draft(None, (image.width // reduction, image.height // reduction))
            picture = upright_rgb(image, self._name)
        surplus_right = picture.width * reduction - self.width
        surplus_bottom = picture.height * reduction - self.height
        left = -surplus_right if self.orientation in _ROUNDED_LEFT else 0
        top = -surplus_bottom if self.orientation in _ROUNDED_TOP else 0
        return Decoded(picture, (left, top, left + picture.width * reduction, top + picture.height * reduction))


def reduces(pixels_per_pixel: float, height: int, width: int) -> bool:
    """Return whether a JPEG of that size is decoded at less than its size, and so gives other pixels."""
    return _reduction(pixels_per_pixel, height, width) > 1


def _reduction(pixels_per_pixel: float, height: int, width: int) -> int:
    return next((r for r in REDUCTIONS if r <= min(pixels_per_pixel, height, width)), 1)


def open_image(content: bytes, name: object, min_side: int = 1, bands: BandOptions | None = None) -> LazyPicture:
    """Return the picture in the bytes of an image file; only a JPEG waits to be decoded.

    Args:
        content: The bytes.
        name: Name of the picture in messages; made into text only for one.
        min_side: Smallest height and width to accept, in pixels.
        bands: How pictures of other than three channels are read; None: as RGB.

    Raises:
        DataError: If it is no picture, too small, or, unless a JPEG, broken.
    """
    if bands is not None:
        return LoadedPicture(read_bands(content, name, bands, min_side))
    with explained(name), opened_picture(content) as image:
        check_single(image, name)
        jpeg = image.format in ("JPEG", "MPO")  # some other formats show their final size only when decoded
        if jpeg:
            picture = JpegPicture(content, image, name)
        else:
            picture = LoadedPicture(upright_rgb(image, name), image.getexif().get(_ORIENTATION, 1))
    check_side(picture.height, picture.width, name, min_side)
    return picture
