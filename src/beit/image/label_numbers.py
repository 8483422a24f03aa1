"""Numbers of label maps, which decoding must not change: 2, 4 and 16 bits, signs, opacity."""

from __future__ import annotations

import numpy as np
from PIL import Image

from beit.errors import DataError
from beit.image.band_reading import numbers_of
from beit.image.depth import stretched_from
from beit.image.tiff import has_signed_bytes

_SCALE = 257  # what numbers of 8 bits are multiplied by to fill 16


def check_plain(image: Image.Image, name: object) -> None:
    """Refuse an opened label map, not decoded yet, whose numbers would be decoded as others.

    Raises:
        DataError: If it has a sign in 8 bits, or is grey of 2 or 4 bits or with a white of its own (PGM).
    """
    if has_signed_bytes(image):
        raise DataError(f"{name} has 8 bits with a sign; expected none: save it as PNG with 8 bits")
    if (white := stretched_from(image)) is not None:
        raise DataError(
            f"{name} is grey from 0 to {white}, which is read as 0 to {255 if image.mode == 'L' else 65535}; expected "
            "numbers that are kept: save it as PNG with 8 bits, or with a palette"
        )


def deep_numbers(image: Image.Image, content: bytes, name: object) -> Image.Image:
    """Return an opened label map of several channels of 16 bits, upright: its numbers, or its colours in 8 bits.

    Raises:
        DataError: If its colours are none of 8 bits.
    """
    stored = numbers_of(image, content, name)
    values = stored.values[..., :-1] if stored.opacity else stored.values
    if (values == values[..., :1]).all():
        return Image.fromarray(np.ascontiguousarray(values[..., 0]))
    if (values % _SCALE).any():
        raise DataError(f"{name} has colours of 16 bits; expected 8: save it as PNG with 8 bits")
    return Image.fromarray((values // _SCALE).astype(np.uint8))


def check_opacity(image: Image.Image, name: object) -> None:
    """Refuse a label map, with opacity, that is all of one number and whose opacity is drawn instead.

    Raises:
        DataError: If it is.
    """
    if image.mode == "RGB":
        return
    least, most = image.getchannel(0).getextrema()
    clear, opaque = image.getchannel("A").getextrema()
    if least == most and clear != opaque:
        raise DataError(
            f"{name} has the number {least} everywhere, and is drawn in its opacity; expected one number per pixel: "
            "save its opacity (alpha channel) as a grey PNG"
        )
