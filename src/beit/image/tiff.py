"""TIFF files of many bands, which Pillow refuses or reads in part: read by tifffile (extra `tiff`).

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from beit.errors import DataError, missing_extra
from beit.files import open_regular
from beit.image.bands import COLOURS
from beit.image.depth import Stored
from beit.image.formats import MOST_BYTES, opened_picture
from beit.image.large import (
    MASK,
    REDUCED,
    check_frame,
    has_planes_behind,
    most_pixels,
    planes_declared,
    several,
)
from beit.image.value_range import Values, nodata_of_tags, range_of_tags

_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two of BigTIFF
_BITS, _COMPRESSION, _ORIENTATION, _SAMPLES, _PLANAR, _FORMAT = 258, 259, 274, 277, 284, 339  # tags
_DEPTH = 32997  # the tag of a volume
_SEPARATE, _WHITE_IS_ZERO, _PALETTE, _SIGNED = 2, 0, 3, 2
_WEBP = 50001  # the compression that Pillow promises, and mostly was built without
_MOST_SAMPLES = 4  # of Pillow
_OPACITY = (1, 2)  # kinds of an extra sample
# Turns of the EXIF orientations 2 to 8: whether rows and columns change places, then which of the two are reversed.
_TURNS = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False), 5: (True, False, False),
    6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip

# What these log about a file is an error of ours.
logging.getLogger("tifffile").addFilter(lambda record: False)
logging.getLogger("PIL.TiffImagePlugin").addFilter(lambda record: "samples per pixel" not in str(record.msg))


def is_tiff(content: bytes) -> bool:
    """Return whether the bytes of a file, or the first four of them, are those of a TIFF."""
    return content.startswith(_BEGINNINGS)


def is_beyond_pillow(content: bytes) -> bool:
    """Return whether a TIFF has more bands than Pillow reads, or planes, or signs in 8 bits, that it would misread."""
    try:
        with opened_picture(content) as image:
            tags: Any = cast("Any", image).tag_v2
            samples, bits = int(tags.get(_SAMPLES, 1)), tags.get(_BITS, (1,))
            planes = tags.get(_PLANAR, 1) == _SEPARATE and samples > 1 and max(bits) != 8
            volume = tags.get(_DEPTH, 1) > 1 or has_planes_behind(image)
            misread = has_signed_bytes(image) or tags.get(_COMPRESSION) == _WEBP
            return samples > _MOST_SAMPLES or planes or volume or misread or samples > len(image.getbands())
    except UnidentifiedImageError:
        return True


def has_signed_bytes(image: Image.Image) -> bool:
    """Return whether an opened picture is a TIFF of 8 bits with a sign, which Pillow would read as without one."""
    tags: Any = getattr(image, "tag_v2", {})
    return tags.get(_FORMAT, (1,))[0] == _SIGNED and max(tags.get(_BITS, (1,))) == 8


def bands_beyond_pillow(file: Path) -> tuple[int, int, int, str] | None:
    """Return height, width, bands and type of a TIFF of more bands than Pillow reads, by the header of its first page.

    None of other files, and where what reads them is not installed.

    Raises:
        OSError: If it is no regular file.
        TiffFileError: If it is damaged.
    """
    with open_regular(file) as stream:
        if not is_tiff(stream.read(4)) or find_spec("tifffile") is None:
            return None
        import tifffile

        stream.seek(0)
        with cast("Any", tifffile).TiffFile(stream, name=file.name) as opened:
            page = opened.pages[0].aspage()
            found = int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel), str(page.dtype)
    return found if found[2] > _MOST_SAMPLES else None


def read_tiff(content: bytes, name: object, channels: int, frame: int | None) -> Stored:
    """Return the numbers of a TIFF: of its one page, of the one that is asked for, or of a page for every channel.

    Raises:
        MissingExtraError: If what reads it is not installed.
        DataError: If its compression needs a further library, or it holds several pictures.
        DecompressionBombError: If it has more pixels than are allowed.
    """
    try:
        import tifffile
    except ModuleNotFoundError:
        raise missing_extra("tifffile", "tiff") from None
    with cast("Any", tifffile).TiffFile(io.BytesIO(content)) as file:
        # counted first, which ends where pages go round in a circle; an iteration does not
        pages = [file.pages[number].aspage() for number in range(len(file.pages))]
        pages = [page for page in pages if not int(page.subfiletype) & (REDUCED | MASK)] or pages[:1]
        if not pages:
            raise UnidentifiedImageError
        if len(file.pages) == 1 < (planes := planes_declared(pages[0].description)):
            return _plane(pages[0], content, planes, name, channels, frame)
        check_frame(frame, len(pages), name)
        if frame is not None:
            return _page(pages[frame], name)
        if len(pages) == 1:
            return _page(pages[0], name)
        if len(pages) != channels or channels == COLOURS:
            raise several(name, "TIFF")
        stored = [_page(page, name) for page in pages]
    if len({one.values.shape for one in stored}) != 1 or stored[0].values.shape[-1] != 1:
        raise DataError(f"{name} has pages of several sizes or of several bands; expected one band each, of one size")
    return replace(stored[0], values=np.concatenate([one.values for one in stored], axis=-1), opacity=False)


def _plane(page: Any, content: bytes, planes: int, name: object, channels: int, frame: int | None) -> Stored:
    """Return the numbers of one plane of a stack of ImageJ, which lies behind a single page, or of one per channel."""
    check_frame(frame, planes, name)
    if frame is None and (planes != channels or channels == COLOURS or page.samplesperpixel != 1):
        raise several(name, "TIFF of ImageJ")
    first = _page(page, name)
    of_one = prod(page.shape)
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    if page.compression != 1 or len(content) < page.dataoffsets[0] + planes * of_one * dtype.itemsize:
        raise OSError(f"it declares {planes} planes and does not hold them")
    wanted = range(planes) if frame is None else (frame,)
    values = [
        np.frombuffer(content, dtype, of_one, page.dataoffsets[0] + number * of_one * dtype.itemsize)
        for number in wanted
    ]
    if page.samplesperpixel != 1:  # of colours, chunky
        return replace(first, values=values[0].reshape(first.values.shape))
    return replace(first, values=np.stack([plane.reshape(page.shape) for plane in values], axis=-1))


def _page(page: Any, name: object) -> Stored:
    """Return the numbers of a page.

    Raises:
        DecompressionBombError: If it has more pixels than are allowed.
    """
    itemsize = 0 if page.dtype is None else page.dtype.itemsize
    if page.imagewidth * page.imagelength > most_pixels() or prod(page.shape) * itemsize > MOST_BYTES:
        raise Image.DecompressionBombError
    values, extra = _decoded(page, name), page.extrasamples
    tags = {tag.code: tag.value for tag in page.tags}
    orientation = int(tags.get(_ORIENTATION, 1))
    if page.photometric == _PALETTE:  # of 16 bits, which Pillow does not know
        colours = _upright(_coloured(values, page), orientation)
        return Stored(colours, mode="TIFF with a palette", orientation=orientation)
    return Stored(
        _upright(values, orientation),
        range_of_tags(tags),
        bool(extra) and int(extra[-1]) in _OPACITY,
        page.photometric == _WHITE_IS_ZERO,
        f"TIFF of {values.dtype}",
        orientation,
        nodata_of_tags(tags),
    )


def _decoded(page: Any, name: object) -> Values:
    """Return the values (H, W, C) of a page.

    Raises:
        DataError: If its compression needs a further library, or it is a volume.
        OSError: If it has no pixels.
    """
    try:
        values = np.asarray(page.asarray())
    except Exception as error:  # of several kinds
        if "imagecodecs" not in str(error):
            raise
        if page.compression == 1:
            how = f"numbers of {page.bitspersample} bits; expected 8, 12, 16 or 32"
        else:
            how = f"bands that are compressed ({page.compression.name}); expected none, deflate or PackBits"
        raise DataError(
            f"{name} has {how}: save it in one of these",
            otherwise="install what reads the others (pip install imagecodecs)",
        ) from None
    if not values.size or values.shape != tuple(page.shape):
        raise OSError("its page is without pixels")
    if page.axes == "YX":
        return values[..., None]
    if page.axes not in ("YXS", "SYX"):
        raise DataError(f"{name} is a TIFF of {page.axes}, {values.shape}; expected rows, columns and bands: split it")
    return np.moveaxis(values, 0, -1) if page.axes == "SYX" else values


def _coloured(values: Values, page: Any) -> Values:
    """Return the colours (H, W, 3), of 16 bits, that the numbers (H, W, 1) of a page stand for.

    Raises:
        OSError: If its palette lacks some of them.
    """
    palette = page.colormap
    if palette is None or values.max() >= palette.shape[-1]:
        raise OSError("its palette lacks colours that it names")
    return np.moveaxis(palette[:, values[..., 0]], 0, -1)


def _upright(values: Values, orientation: int) -> Values:
    if orientation not in _TURNS:
        return values
    swapped, rows, columns = _TURNS[orientation]
    turned = values.swapaxes(0, 1) if swapped else values
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]
