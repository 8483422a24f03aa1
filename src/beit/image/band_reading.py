"""Reading of pictures in all bits of their numbers: deep grey and colours, RGBA, bands of TIFF, arrays (.npy, .npz).

Legend: C channels, H x W pixels.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from math import prod

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

from beit.errors import DataError
from beit.image.bands import COLOURS, BandOptions, Bands, is_repeated
from beit.image.depth import Stored, stored_in
from beit.image.dicom import is_dicom, read_dicom
from beit.image.formats import EXTENSIONS, MOST_BYTES, opened_picture
from beit.image.large import is_one_with_overviews, most_pixels, too_large
from beit.image.reading import choose_frame, explained, frames_of
from beit.image.tiff import is_beyond_pillow, is_tiff, read_tiff
from beit.image.value_range import Values, cut_to_range, is_absent, say_absent

ARRAYS = frozenset({".npy", ".npz"})  # endings
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"  # what such files begin with
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_KINDS = "buif"  # numpy's letters of whole and real numbers


def endings_of(bands: BandOptions | None) -> frozenset[str]:
    """Return the endings of files that are pictures: arrays only where the reading of their numbers is said."""
    return EXTENSIONS if bands is None else EXTENSIONS | ARRAYS


def read_bands(
    content: bytes, name: object, options: BandOptions
) -> tuple[Bands, int, NDArray[np.bool_] | None]:  # fmt: skip
    """Return the picture in the bytes of a file, in all bits of its numbers, its EXIF orientation, and what it lacks.

    The last is where (H, W, C) it has no measurement and is black; None: nowhere.

    Args:
        content: The bytes.
        name: Name of the picture in messages.
        options: Its channels, the range of its values, and which of several frames it is.

    Raises:
        DataError: If it is broken or too large, or has other channels or values than expected.
    """
    with explained(name):
        stored = _stored(content, name, options)
    picture, absent_HWC = bands_of(stored, name, options)
    return picture, stored.orientation, absent_HWC


def bands_of(stored: Stored, name: object, options: BandOptions) -> tuple[Bands, NDArray[np.bool_] | None]:
    """Return the picture that numbers are, and where (H, W, C) it has no measurement and is black; None: nowhere.

    Raises:
        DataError: If it has other channels or values than expected.
    """
    values_HWC = fitted(stored, name, options.channels)
    distinct_HWC = values_HWC[..., :1] if is_repeated(values_HWC) else values_HWC
    absent_HWC = is_absent(distinct_HWC, stored.nodata)
    shares_HWC, cut = _shares(distinct_HWC, absent_HWC, stored, name, options)
    picture = Bands.of_array(np.broadcast_to(shares_HWC, values_HWC.shape), cut)
    return picture, np.broadcast_to(absent_HWC, values_HWC.shape) if absent_HWC.any() else None


def _shares(
    values_HWC: Values, absent: NDArray[np.bool_], stored: Stored, name: object, options: BandOptions
) -> tuple[Values, float]:
    """Return values in [0, 1], 0 where there is no measurement, and the share that lay beyond the range."""
    if stored.nodata is None or not absent.any():
        shares_HWC, cut = cut_to_range(values_HWC, name, options.value_range, stored.span)
        return 1 - shares_HWC if stored.inverted else shares_HWC, cut
    say_absent(name, stored.nodata, float(absent.mean()))
    shares_HWC, cut = np.zeros(values_HWC.shape, np.float32), 0.0
    if len(measured := values_HWC[~absent]):
        found, cut = cut_to_range(measured, name, options.value_range, stored.span)
        shares_HWC[~absent] = 1 - found if stored.inverted else found
    return shares_HWC, cut * float((~absent).mean())


def is_for_bands(content: bytes) -> bool:
    """Return whether a file is none that Pillow reads as a picture: an array, DICOM, or a TIFF of many bands."""
    return _is_array(content) or is_dicom(content) or (is_tiff(content) and is_beyond_pillow(content))


def _is_array(content: bytes) -> bool:
    """Return whether the bytes of a file are those of a .npy or .npz."""
    return content.startswith((_NPY, _ZIP))


def _stored(content: bytes, name: object, options: BandOptions) -> Stored:
    """Return the numbers in a file of any format."""
    channels, frame = options.channels, options.frame
    if _is_array(content):
        return Stored(with_channels(_array(content, name), name, channels))
    if is_dicom(content):
        return read_dicom(content, name, channels, frame, shown=options.value_range is None)
    if is_tiff(content) and is_beyond_pillow(content):
        return read_tiff(content, name, channels, frame)
    with opened_picture(content) as image:
        if frame is None and _has_pages_for(channels, image):
            return _pages(image, content, name)
        choose_frame(image, frame, name)
        return numbers_of(image, content, name)


def _has_pages_for(channels: int, image: Image.Image) -> bool:
    """Return whether a TIFF has a page for every channel; three pages are no colours."""
    return (
        image.format == "TIFF"
        and 1 < channels == frames_of(image) != COLOURS
        and channels != len(image.getbands())
        and not is_one_with_overviews(image)
    )


def _pages(image: Image.Image, content: bytes, name: object) -> Stored:
    """Return the numbers of a TIFF in which every page is a channel.

    Raises:
        DataError: If a page is not grey, or of another size than the first.
    """
    size, pages = image.size, list[Stored]()
    for number in range(frames_of(image)):
        image.seek(number)
        if image.size != size:
            raise DataError(
                f"{name} has pages of {size[1]} x {size[0]} and {image.height} x {image.width} pixels; expected one "
                "size, as of channels: resample them, or save the page that you mean by itself"
            )
        pages.append(numbers_of(image, content, name))
    return replace(pages[0], values=np.concatenate([fitted(page, name, 1) for page in pages], axis=-1), opacity=False)


def numbers_of(image: Image.Image, content: bytes, name: object) -> Stored:
    """Return the numbers of an opened picture.

    Raises:
        DataError: If its mode has no plain channels, such as CMYK.
    """
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if (stored := stored_in(image, content)) is None:
        raise DataError(f"{name} has {image.mode} pixels; expected grey, RGB or RGBA: convert it")
    return stored


def fitted(stored: Stored, name: object, channels: int) -> Values:
    """Return the values in as many channels as a job takes: opacity may be left out, and grey be shown as colours.

    Raises:
        DataError: If it has others.
    """
    values_HWC, found = stored.values, stored.values.shape[-1]
    if found == channels:
        return values_HWC
    plain_HWC = values_HWC[..., :-1] if stored.opacity else values_HWC
    if plain_HWC.shape[-1] == channels:
        return plain_HWC
    if plain_HWC.shape[-1] == 1 and channels == COLOURS:
        return np.broadcast_to(plain_HWC, (*plain_HWC.shape[:2], COLOURS))  # which takes no memory
    grey = channels == 1 and found == COLOURS
    if grey and (plain_HWC == plain_HWC[..., :1]).all():  # saved as colours
        return plain_HWC[..., :1]
    remedy = "save it in grey" if grey else f"pass one of {channels}, such as a .npy of the channels that you mean"
    raise DataError(
        f"{name} has {found} channel{'s' * (found != 1)} ({stored.mode}); expected {channels}: {remedy}",
        otherwise=f"set data.channels to {found} for a training",
    )


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
        remedy = "numpy.moveaxis(array, 0, -1) puts channels last" if first else "save it so"
        raise DataError(
            f"{name} is an array of shape {values.shape}; expected (height, width, {channels}), of which the last is "
            f"the number of channels: {remedy}",
            otherwise="" if first else "set data.channels for a training",
        )
    if prod(values.shape[:2]) > most_pixels():
        raise too_large(name)
    return values
