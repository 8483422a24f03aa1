"""Numbers of a picture that Pillow opens, in all of their bits.

Pillow keeps grey of any depth, and cuts colours of 16 bits to the upper 8. Its decoders can be asked for the lower 8 in
their place, which together are the whole.

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from beit.image.formats import opened_picture
from beit.image.reading import orientation_of
from beit.image.value_range import Span, Values, nodata_of_tags, range_of_png, range_of_tags

_OTHER = "16B" if sys.byteorder == "little" else "16L"  # the order of bytes that is not this machine's
# How a decoder is asked for the lower bytes of 16-bit colours; of grey with opacity for all four bytes at once.
_LOWER = {
    f"{mode};{order}": f"{mode};{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in (("16B", "16L"), ("16L", "16B"), ("16N", _OTHER))
} | {"LA;16B": "RGBA"}
_COMMENT = re.compile(rb"#[^\r\n]*")
_DEEP_GREY = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_OPAQUE, _CLEAR = ("1", "L", "RGB", "RGBX", *_DEEP_GREY), ("LA", "RGBA")  # modes without and with opacity
_PNM, _MOST = "PPM", 65535
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_SIGNED = 2


@dataclass(frozen=True)
class Stored:
    """The numbers of a picture as its file holds them, upright.

    Attributes:
        values: (H, W, C).
        span: The range that the file declares.
        opacity: Whether the last channel is opacity.
        inverted: Whether low values are bright.
        mode: What its channels are, in messages.
        orientation: EXIF orientation that it was turned upright from: 1 for none.
        nodata: The value that stands for no measurement.
    """

    values: Values
    span: Span | None = None
    opacity: bool = False
    inverted: bool = False
    mode: str = ""
    orientation: int = 1
    nodata: float | None = None


def is_deep(image: Image.Image) -> bool:
    """Return whether an opened picture, not decoded yet, has more than 8 bits per channel."""
    if image.mode in _DEEP_GREY or _decoder_mode(image) in _LOWER:
        return True
    return image.format == _PNM and _most_of(image) > 255


def stretched_from(image: Image.Image) -> int | None:
    """Return the number that a file of grey holds for white, if its decoder stretches it to 255 or 65535; else None.

    Grey of 2 and 4 bits is stretched so, and that of a PNM file that declares another white.
    """
    bits = re.fullmatch(r"L;([24])I?R?", _decoder_mode(image))
    white = (
        _most_of(image) if image.format == _PNM and image.mode in ("L", "I") else 2 ** int(bits[1]) - 1 if bits else 0
    )
    return None if white in (0, 255, _MOST) else white


def stored_in(image: Image.Image, content: bytes) -> Stored | None:
    """Return the numbers of a picture, opened from its bytes; None of modes without plain channels, such as CMYK."""
    opacity = image.mode in _CLEAR
    if image.format == _PNM and is_deep(image):
        return Stored(_of_pnm(image, content), (0, _most_of(image)), mode=image.mode)
    lower, deep = _LOWER.get(_decoder_mode(image)), is_deep(image)
    orientation = orientation_of(image)
    if lower is not None:
        return replace(_of_halves(image, content, lower), orientation=orientation, nodata=nodata_in(image))
    if image.mode not in _OPAQUE + _CLEAR:
        return None
    span = _declared(image) if deep else None
    values = _channels(_as_stored(np.asarray(ImageOps.exif_transpose(image)), image))
    if span is None and image.format == "PNG" and image.mode.startswith("I;16"):
        span = range_of_png(content, values)
    return Stored(values, span, opacity, _is_white_zero(image), image.mode, orientation, nodata_in(image))


def nodata_in(image: Image.Image) -> float | None:
    """Return the value that stands for no measurement in an opened TIFF; None without one, and of other formats."""
    tags: Any = getattr(image, "tag_v2", None)
    return None if tags is None else nodata_of_tags(tags)


def _of_halves(image: Image.Image, content: bytes, lower: str) -> Stored:
    """Return colours, or grey with opacity, of 16 bits, which are decoded twice."""
    page, mode, span = image.tell(), image.mode, _declared(image)
    with opened_picture(content) as again:
        again.seek(page)
        halves: Any = again
        halves.tile = [tile._replace(args=_replaced(tile.args, lower)) for tile in halves.tile]
        low = np.asarray(ImageOps.exif_transpose(again)).astype(np.uint16)
    if lower == "RGBA":  # the bytes of grey and opacity, in order
        values = low[..., ::2] << 8 | low[..., 1::2]
    else:
        values = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16) << 8 | low
    if image.format == "PNG":
        span = range_of_png(content, values)
    return Stored(values, span, mode in _CLEAR, mode="LA" if lower == "RGBA" else mode)


def _decoder_mode(image: Image.Image) -> str:
    """Return how the first part of a picture is laid out for its decoder, such as `RGB;16B`; "" if that is unknown."""
    tiles: Any = getattr(image, "tile", None)
    args: Any = tiles[0].args if tiles else ""
    found: Any = args[0] if isinstance(args, tuple) and args else args
    return found if isinstance(found, str) else ""


def _replaced(args: Any, mode: str) -> Any:
    return (mode, *args[1:]) if isinstance(args, tuple) else mode


def _declared(image: Image.Image) -> Span | None:
    tags: Any = getattr(image, "tag_v2", None)
    return None if tags is None else range_of_tags(tags)


def _as_stored(values: Values, image: Image.Image) -> Values:
    """Return whole numbers of a TIFF in their own type, which Pillow has as 32 bits with a sign."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None or image.mode != "I":
        return values
    bits, signed = max(tags.get(_BITS, (32,))), max(tags.get(_SAMPLE_FORMAT, (1,))) == _SIGNED
    if bits == 32:
        return values if signed else values.view(np.uint32)
    return values.astype({8: np.int8, 16: np.int16}.get(bits, np.int32)) if signed else values


def _is_white_zero(image: Image.Image) -> bool:
    """Return whether deep grey of a TIFF is inverted, which Pillow leaves as it is (of 8 bits it does not)."""
    tags: Any = getattr(image, "tag_v2", None)
    return tags is not None and image.mode in _DEEP_GREY and tags.get(_PHOTOMETRIC) == 0


def _most_of(image: Image.Image) -> int:
    """Return the value of white in a PNM file."""
    tiles: Any = getattr(image, "tile", None)
    args: Any = tiles[0].args if tiles else ""
    return int(args[1]) if isinstance(args, tuple) and isinstance(args[1], int) else _MOST if args == "I;16B" else 255


def _of_pnm(image: Image.Image, content: bytes) -> Values:
    """Return the numbers of a PNM file of 16 bits, which Pillow would scale."""
    opened: Any = image
    tile = opened.tile[0]
    body, shape = content[tile.offset :], (image.height, image.width, len(image.getbands()))
    count = int(np.prod(shape))
    if tile.codec_name == "ppm_plain":
        return np.array(_COMMENT.sub(b"", body).split()[:count], np.uint16).reshape(shape)
    return np.frombuffer(body, ">u2", count).reshape(shape)


def _channels(values: Values) -> Values:
    return values if values.ndim == 3 else values[..., None]
