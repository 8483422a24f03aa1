"""Affine changes of a crop: a small turn, slant and shift, resampled together with the crop."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, floor, radians, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.image import AnyPicture, Bands, Box

_MARGIN = 2  # pixels around what is shown that a bicubic filter reads


@dataclass(frozen=True)
class AffineRange:
    """Largest changes to either side; what is 0 does not change.

    Attributes:
        rotation: Turn, in degrees.
        shear: Horizontal slant, in pixels per pixel of height.
        shift: Shift in each direction, as a share of the crop's width and height.
    """

    rotation: float = 0.0
    shear: float = 0.0
    shift: float = 0.0

    def draw(self, rng: np.random.Generator) -> Affine | None:
        """Return a random change; None, without a draw, where all three are 0.

        Drawn in this order: turn, slant, shift across and down.
        """
        if not (self.rotation or self.shear or self.shift):
            return None
        turn, slant, across, down = rng.uniform(-1, 1, size=4).tolist()
        return Affine(self.rotation * turn, self.shear * slant, (self.shift * across, self.shift * down))


@dataclass(frozen=True)
class Affine:
    """Change of one crop, as it was drawn: what is cut out is slanted, turned about its middle, and shifted.

    Attributes:
        rotation: In degrees.
        shear: In pixels per pixel of height.
        shift: To the right and down, as shares of width and height.
    """

    rotation: float
    shear: float
    shift: tuple[float, float]

    def cut(self, picture: AnyPicture, box: Box, size_hw: tuple[int, int], resample: Image.Resampling) -> AnyPicture:
        """Return the changed crop at a size; beyond its edges the picture is mirrored.

        What has to shrink is shrunk first, by the given filter, and the change is then one bicubic resampling.

        Args:
            picture: Picture to cut from.
            box: What would be cut out without the change.
            size_hw: Size of the result in pixels.
            resample: Filter that shrinks.
        """
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        columns, rows = size_hw[1], size_hw[0]
        cosine, sine = cos(radians(self.rotation)), sin(radians(self.rotation))
        slant = self.shear * height
        # from the middle of the result, in shares of its sides, to pixels of the picture: the turn of the slanted crop
        xx, xy = cosine * width, cosine * slant - sine * height
        yx, yy = sine * width, sine * slant + cosine * height
        x, y = left + (0.5 + self.shift[0]) * width, top + (0.5 + self.shift[1]) * height
        across = _axis(x, (abs(xx) + abs(xy)) / 2, picture.width, width / columns)
        down = _axis(y, (abs(yx) + abs(yy)) / 2, picture.height, height / rows)
        part = _part(picture, across, down, resample)
        coefficients = (
            across.scale * xx / columns,
            across.scale * xy / rows,
            across.scale * (x - (xx + xy) / 2) - across.start,
            down.scale * yx / columns,
            down.scale * yy / rows,
            down.scale * (y - (yx + yy) / 2) - down.start,
        )
        return part.transform((columns, rows), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)


class _Axis(NamedTuple):
    """One axis of the part of a picture that is shown.

    Attributes:
        first: Its first pixel in the picture.
        last: The one behind its last.
        size: Its pixels, shrunk.
        before: Mirrored pixels before them.
        after: Mirrored pixels behind them.
    """

    first: int
    last: int
    size: int
    before: int
    after: int

    @property
    def scale(self) -> float:
        """Pixels per pixel of the picture."""
        return self.size / (self.last - self.first)

    @property
    def start(self) -> float:
        """Place of its first pixel, mirrored or not, on the shrunk picture."""
        return self.first * self.scale - self.before


def _axis(middle: float, reach: float, length: int, shrink: float) -> _Axis:
    """Return the part of an axis within reach of a middle, to be shrunk by a factor if that is above 1."""
    shrink = max(1.0, shrink)
    low, high = middle - reach - _MARGIN * shrink, middle + reach + _MARGIN * shrink
    first = min(max(floor(low), 0), length - 1)
    last = max(min(ceil(high), length), first + 1)
    size = max(1, round((last - first) / shrink))
    scale = size / (last - first)
    return _Axis(first, last, size, max(0, ceil((first - low) * scale)), max(0, ceil((high - last) * scale)))


def _part(picture: AnyPicture, across: _Axis, down: _Axis, resample: Image.Resampling) -> AnyPicture:
    """Return a part of a picture, shrunk, and mirrored where it reaches beyond the edges."""
    box = (across.first, down.first, across.last, down.last)
    part = picture.resize((across.size, down.size), resample, box=box)
    if not any((across.before, across.after, down.before, down.after)):
        return part
    places_across, places_down = _mirrored(across), _mirrored(down)
    if isinstance(part, Bands):
        return part.rearranged(places_down, places_across)
    return Image.fromarray(np.asarray(part)[places_down[:, None], places_across])


def _mirrored(axis: _Axis) -> NDArray[np.int64]:
    """Return the pixel to show at every place of an axis: it is mirrored at both ends, as often as it takes."""
    places = np.arange(-axis.before, axis.size + axis.after) % (2 * axis.size)
    return np.minimum(places, 2 * axis.size - 1 - places)
