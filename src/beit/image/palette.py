"""Colours for classes, and pictures of label maps.

Legend: K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from beit.errors import ConfigError, printable
from beit.image.labels import IGNORED

Bytes = NDArray[np.uint8]
_BITS = 8
_LINE = 18  # pixels of a legend's line
_LONGEST = 80  # characters of a name in it


def palette(classes: int) -> Bytes:
    """Return a colour for each class (K, 3), alike for all models: neighbours in number are far apart.

    Source: the colour map of PASCAL VOC, from its second colour on; the first, black, is left to what has no class.
    """
    colours_K3 = np.zeros((classes, 3), np.uint8)
    for index in range(classes):
        number = index + 1
        for bit in range(_BITS):
            for channel in range(3):
                colours_K3[index, channel] |= (number >> channel & 1) << (_BITS - 1 - bit)
            number >>= 3
    return colours_K3


def _table(classes: int) -> Bytes:
    """Return the colour of every number that a pixel of 8 bits may hold, (256, 3)."""
    if classes > IGNORED:
        raise ConfigError(
            f"the model has {classes} classes; expected at most {IGNORED}, the limit of pictures of 8 bits: "
            "take the numbers themselves (Segmentation.labels), or their shares (beit predict --format jsonl)"
        )
    table = np.zeros((IGNORED + 1, 3), np.uint8)
    table[:classes] = palette(classes)
    return table


def coloured(labels_HW: NDArray[np.int64], classes: int) -> Image.Image:
    """Return a label map in the colours of its classes; what has none is black.

    Raises:
        ConfigError: If there are more classes than 8 bits can hold.
    """
    return Image.fromarray(_table(classes)[labels_HW])


def indexed(labels_HW: NDArray[np.int64], classes: int) -> Image.Image:
    """Return a label map as a picture of indices with a palette, for a PNG that is coloured and holds class ids.

    Raises:
        ConfigError: If there are more classes than 8 bits can hold.
    """
    table = _table(classes)
    image = Image.fromarray(labels_HW.astype(np.uint8))
    image.putpalette(table.ravel().tolist())
    return image


def overlaid(picture: Image.Image, labels_HW: NDArray[np.int64], classes: int, opacity: float = 0.5) -> Image.Image:
    """Return a picture with its label map over it; where there is no class the picture stays as it is."""
    blended = Image.blend(picture.convert("RGB"), coloured(labels_HW, classes), opacity)
    return Image.composite(blended, picture, Image.fromarray((labels_HW != IGNORED).astype(np.uint8) * 255))


def legend(names: Sequence[str], shown: Sequence[int]) -> Image.Image:
    """Return the names of some classes beside their colours."""
    font = ImageFont.load_default(size=12)
    words = {index: printable(names[index][:_LONGEST]) for index in shown}
    width = 2 * _LINE + max((round(font.getlength(word)) for word in words.values()), default=0)
    image = Image.new("RGB", (width, max(1, len(shown)) * _LINE), "white")
    draw, colours_K3 = ImageDraw.Draw(image), palette(len(names))
    for place, index in enumerate(shown):
        top = place * _LINE
        draw.rectangle(
            (3, top + 3, _LINE - 3, top + _LINE - 3), fill=tuple(colours_K3[index].tolist()), outline="black"
        )
        draw.text((_LINE + 4, top + 1), words[index], fill="black", font=font)
    return image
