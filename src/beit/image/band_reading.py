"""Reading of pictures of other than three channels: grey in its depth, RGBA, and arrays of bands (.npy, .npz).

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

import io
import zipfile
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image, ImageOps

from beit.errors import DataError
from beit.image.bands import BandOptions, Bands
from beit.image.extra_formats import Scan, dicom_scan, frames_of, is_dicom, opened_dicom
from beit.image.formats import EXTENSIONS, MOST_BYTES, opened_picture
from beit.image.large import is_one_with_overviews, most_pixels, too_large
from beit.image.reading import check_side, check_single, explained
from beit.image.value_range import Span, declared_range

ARRAYS = frozenset({".npy", ".npz"})  # endings
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"  # what such files begin with
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_DEEP = (0, 65535)  # of 16 bits without a sign
_KINDS = "buif"  # numpy's letters of whole and real numbers
_GREY = ("1", "L", "LA", "I", "F")
_MODES = {"LA": 2, "RGBA": 4, "RGBX": 4}  # of Pillow, whose channels are taken as they are

Values = NDArray[Any]


def endings_of(bands: BandOptions | None) -> frozenset[str]:
    """Return the endings of files that are pictures: arrays only where there are other than three channels."""
    return EXTENSIONS if bands is None else EXTENSIONS | ARRAYS


def read_bands(content: bytes, name: object, options: BandOptions, min_side: int = 1) -> Bands:
    """Return the picture in the bytes of a file.

    Args:
        content: The bytes.
        name: Name of the picture in messages.
        options: Its channels, and the range of its values.
        min_side: Smallest height and width to accept, in pixels.

    Raises:
        DataError: If it is broken, too small or too large, or has other channels or values than expected.
    """
    span, inverted = None, False
    with explained(name):
        if content.startswith((_NPY, _ZIP)):
            values_HWC = with_channels(_array(content, name), name, options.channels)
        elif is_dicom(content) and (scan := _scan(content, name, options.channels)) is not None:
            frames = scan.values if scan.values.ndim == 3 else scan.values[None]
            values_HWC, span, inverted = np.moveaxis(frames, 0, -1), scan.window, scan.inverted
        else:
            values_HWC, span = _of_image(content, name, options.channels)
    height, width, _ = values_HWC.shape
    check_side(height, width, name, min_side)
    shares_HWC = in_unit_range(values_HWC, name, options.value_range, span)
    return Bands.of_array(1 - shares_HWC if inverted else shares_HWC)


def in_unit_range(values: Values, name: object, asked: Span | None, declared: Span | None = None) -> Values:
    """Return values in [0, 1]: those of 8 bits divided by 255, others by their range, beyond which they are cut off.

    Raises:
        DataError: If the range is unknown, or a value is no number.
    """
    kind, size = values.dtype.kind, values.dtype.itemsize  # whatever the order of the bytes
    if size == 1 and kind in "bu":
        return values.astype(np.float32) / np.float32(255 if kind == "u" else 1)
    if not np.isfinite(values).all():
        raise DataError(f"{name} holds values that are no numbers (NaN or infinite); expected all finite: fill them in")
    span = asked or declared or (_DEEP if (kind, size) == ("u", 2) else None)
    if span is None and (kind != "f" or values.min() < 0 or values.max() > 1):
        raise DataError(
            f"{name} holds {values.dtype} from {values.min():g} to {values.max():g}; expected 8 or 16 bits without a "
            "sign, or real numbers from 0 to 1: say with data.value_range which values are 0 and 1"
        )
    low, high = span or (0, 1)
    return ((values.astype(np.float64) - low) / (high - low)).clip(0, 1)


def _scan(content: bytes, name: object, channels: int) -> Scan | None:
    """Return the grey values of a DICOM file, whose frames are the channels; None of colours.

    Raises:
        DataError: If it has another number of frames.
    """
    file = opened_dicom(io.BytesIO(content))
    if (frames := frames_of(file)) not in (1, channels):
        raise DataError(f"{name} holds {frames} frames; expected 1 or {channels}, as many as data.channels: set it so")
    scan = dicom_scan(file)
    if not isinstance(scan, Scan):
        return None
    if frames != channels:
        raise DataError(f"{name} is grey, of one frame; expected {channels} channels: set data.channels to 1")
    return scan


def _of_image(content: bytes, name: object, channels: int) -> tuple[Values, Span | None]:
    """Return the values (H, W, C) of an image file, upright, and the range that it declares."""
    with opened_picture(content) as image:
        span = declared_range(image)
        if image.format == "TIFF" and 1 < channels == _pages(image) and not is_one_with_overviews(image):
            return np.concatenate([_page(image, number, name) for number in range(channels)], axis=-1), span
        check_single(image, name)
        return image_values(ImageOps.exif_transpose(image), name, channels), span


def _pages(image: Image.Image) -> int:
    return getattr(image, "n_frames", 1)


def _page(image: Image.Image, number: int, name: object) -> Values:
    """Return the values (H, W, 1) of one of several pages, each of which is a channel.

    Raises:
        DataError: If it is not grey, or of another size than the first.
    """
    size = image.size
    image.seek(number)
    if image.size != size:
        raise DataError(
            f"{name} has pages of {size[1]} x {size[0]} and {image.height} x {image.width} pixels; expected one size, "
            "as of channels: resample them, or save the page that you mean by itself"
        )
    return image_values(ImageOps.exif_transpose(image), name, 1)


def image_values(image: Image.Image, name: object, channels: int) -> Values:
    """Return the values (H, W, C) of an upright image in the depth that it has.

    Raises:
        DataError: If it has other channels than expected.
    """
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if _MODES.get(image.mode) == channels:
        return np.asarray(image)
    if channels == 1 and (image.mode in _GREY or image.mode.startswith("I;16")):
        return np.asarray(image.getchannel("L") if image.mode == "LA" else image)[..., None]
    pixels = np.asarray(image)
    if channels == 1 and image.mode == "RGB" and (pixels == pixels[..., :1]).all():  # grey, saved as colours
        return pixels[..., :1]
    bands = image.getbands()
    remedy = "save it in grey" if channels == 1 else "save all channels as a .npy of (height, width, channels)"
    raise DataError(f"{name} has {len(bands)} channels ({image.mode}); expected {channels} (data.channels): {remedy}")


def _array(content: bytes, name: object) -> Values:
    """Return the array of a .npy file, or the only one of a .npz, by its header alone: nothing is unpickled.

    Raises:
        DataError: If there are several, or it is none of numbers.
    """
    if content.startswith(_ZIP):
        content = _only_member(content, name)
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise DataError(f"{name} is a .npy of version {version}; expected 1.0 or 2.0: save it with numpy.save")
    shape, is_fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise DataError(f"{name} is an array of {dtype}; expected whole or real numbers: save it as uint16 or float32")
    # the bytes are at hand, so that a header of any size allocates nothing
    flat = np.frombuffer(content, dtype, prod(shape), stream.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _only_member(content: bytes, name: object) -> bytes:
    """Return the bytes of the only file in an archive.

    Raises:
        DataError: If there are several, or it is too large.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) != 1 or members[0].file_size > MOST_BYTES:
            names = ", ".join(member.filename for member in members[:5])
            raise DataError(
                f"{name} holds {len(members)} arrays ({names}); expected one of at most {MOST_BYTES >> 20:,} MiB: save "
                "it by itself"
            )
        return archive.read(members[0])


def with_channels(values: Values, name: object, channels: int) -> Values:
    """Return an array as (H, W, C).

    Raises:
        DataError: If it has another shape, or more pixels than are allowed.
    """
    if values.ndim == 2 and channels == 1:
        values = values[..., None]
    if values.ndim != 3 or values.shape[-1] != channels or 0 in values.shape:
        first = values.ndim == 3 and values.shape[0] == channels
        remedy = "numpy.moveaxis(array, 0, -1) puts channels last" if first else "set data.channels, or save it so"
        raise DataError(
            f"{name} is an array of shape {values.shape}; expected (height, width, {channels}), of which the last is "
            f"data.channels: {remedy}"
        )
    if prod(values.shape[:2]) > most_pixels():
        raise DataError(too_large(name))
    return values
