"""DICOM, the format of medicine: values in their unit, windows, frames and colours (extra `dicom`).

Legend: C channels, F frames, H x W pixels.
"""

from __future__ import annotations

import io
import zlib
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from beit.errors import DataError, missing_extra
from beit.image.bands import COLOURS
from beit.image.depth import Stored
from beit.image.large import check_frame, most_pixels, several
from beit.image.value_range import Span, Values

_GREY, _PALETTE, _INVERTED = "grey", "PALETTE COLOR", "MONOCHROME1"
_LEAST = 1e-9  # width of a window
_BYTE = 8  # bits
_HEAD = bytes(128) + b"DICM"  # before the first element; some programs leave it out
_FIRST = b"\x02\0\0\0UL\x04\0"  # what the first element begins with: the length of its group
_DEFLATED = "1.2.840.10008.1.2.1.99"  # the transfer syntax whose elements are all compressed, not the pixels alone
_MOST_UNPACKED = 2**28  # bytes of such a file
_BLOCK = 2**20


def is_dicom(content: bytes) -> bool:
    """Return whether the bytes of a file are those of DICOM."""
    return content[128:132] == _HEAD[128:] or content.startswith(_FIRST)


def read_dicom(content: bytes, name: object, channels: int, frame: int | None, shown: bool = True) -> Stored:
    """Return the numbers of a DICOM file; grey ones in the unit that its rescaling gives, such as Hounsfield units.

    Args:
        content: The bytes of the file.
        name: Name of the picture in messages.
        channels: How many channels are wanted; a file of as many grey frames has them, unless three.
        frame: Which of several frames, from 0.
        shown: Whether a table of what a screen shows (VOI LUT) is applied, which takes the values out of their unit.

    Raises:
        MissingExtraError: If what reads it is not installed.
        DataError: If it holds several frames, none is asked for, and they are no channels; if its compression needs a
            further library.
        OSError: If it unpacks to more than a picture holds.
        DecompressionBombError: If it has more pixels than are allowed.
    """
    try:
        import pydicom
    except ModuleNotFoundError:
        raise missing_extra("pydicom", "dicom") from None
    stream = io.BytesIO(_HEAD + content if content.startswith(_FIRST) else content)
    _check_unpacked(stream)
    file: Any = cast("Any", pydicom).dcmread(stream)
    frames = int(file.get("NumberOfFrames") or 1)
    check_frame(frame, frames, name)
    if int(file.Rows) * int(file.Columns) * (frames if frame is None else 1) > most_pixels():
        raise Image.DecompressionBombError
    _check_compression(file, name)
    if frame is None and frames > 1:
        if frames != channels or channels == COLOURS or _is_colour(file):
            raise several(name, f"{frames} frames of DICOM")
        scans = [_scan(file, number, shown) for number in range(frames)]
        return Stored(np.concatenate([scan.values for scan in scans], -1), scans[0].span, False, scans[0].inverted)
    return _colours(file, frame or 0) if _is_colour(file) else _scan(file, frame or 0, shown)


def _check_unpacked(stream: BinaryIO) -> None:
    """Refuse a deflated file that unpacks to too much, which pydicom would unpack as a whole.

    Raises:
        OSError: If it does.
    """
    from pydicom import filereader

    stream.seek(len(_HEAD))
    head: Any = cast("Any", filereader).read_dataset(stream, False, True, stop_when=_is_past_the_head)
    if head.get("TransferSyntaxUID") == _DEFLATED:
        unpacker, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (packed := unpacker.unconsumed_tail or stream.read(_BLOCK)) and not unpacker.eof:
            unpacked += len(unpacker.decompress(packed, _BLOCK))
            if unpacked > _MOST_UNPACKED:
                raise OSError(f"unpacks to more than {_MOST_UNPACKED >> 20} MiB; save it in another transfer syntax")
    stream.seek(0)


def _is_past_the_head(tag: Any, *_: Any) -> bool:
    return tag.group != 2  # the group of what is never compressed


def _check_compression(file: Any, name: object) -> None:
    """Refuse a file whose pixels are compressed in a way that what is installed does not read.

    Raises:
        DataError: If they are.
    """
    from pydicom.pixels.decoders.base import get_decoder

    syntax: Any = file.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_compressed or syntax == _DEFLATED:
        return
    try:
        missing = not cast("Any", get_decoder)(syntax).is_available
    except NotImplementedError:
        raise DataError(
            f"{name} is DICOM in {syntax.name}; expected a picture: export the frame that you mean"
        ) from None
    if missing:
        raise DataError(
            f"{name} is DICOM in {syntax.name}; expected none, RLE, JPEG or JPEG 2000: save it uncompressed",
            otherwise="install what reads the others (pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg)",
        )


def _is_colour(file: Any) -> bool:
    return file.get("SamplesPerPixel", 1) > 1 or file.PhotometricInterpretation == _PALETTE


def _scan(file: Any, frame: int, shown: bool) -> Stored:
    """Return the grey values (H, W, 1) of a frame, with the window that a screen shows."""
    from pydicom import pixels

    stored_HW = _stored_values(file, frame)
    if "ModalityLUTSequence" in file:
        values_HW = np.asarray(cast("Any", pixels).apply_modality_lut(stored_HW, file), np.float64)
    else:
        factor, summand = _rescaling(file, frame)
        with np.errstate(over="ignore"):  # infinite values are refused
            values_HW = stored_HW * factor + summand
    inverted = file.PhotometricInterpretation == _INVERTED
    if (span := _window(file, frame)) is None and shown and "VOILUTSequence" in file:
        values_HW = cast("Any", pixels).apply_voi_lut(np.rint(values_HW).astype(np.int64), file, prefer_lut=True)
        span = _range_of_table(file.VOILUTSequence[0])
    return Stored(values_HW[..., None], span or _range_of_bits(file, frame), inverted=inverted, mode=_GREY)


def _stored_values(file: Any, frame: int) -> Values:
    """Return the numbers (H, W) of a frame; those that do not begin at the lowest bit are moved there."""
    from pydicom import pixels

    bits, unused = int(file.get("BitsStored") or 0), 0
    if bits and file.get("HighBit") is not None:
        unused = int(file.HighBit) + 1 - bits
    if not unused:
        return cast("Any", pixels).pixel_array(file, index=frame)
    file.BitsStored = bits + unused  # pydicom counts them from the lowest
    try:
        return cast("Any", pixels).pixel_array(file, index=frame) >> unused
    finally:
        file.BitsStored = bits


def _colours(file: Any, frame: int) -> Stored:
    """Return the colours (H, W, 3) of a frame, those of a palette too."""
    from pydicom import pixels

    values: Values = cast("Any", pixels).pixel_array(file, index=frame)  # of YCbCr made into RGB
    bits = int(file.BitsStored)
    if file.PhotometricInterpretation == _PALETTE:
        values = cast("Any", pixels).apply_color_lut(values, file)[..., :3]
        bits = values.dtype.itemsize * _BYTE
    return Stored(values, None if bits == _BYTE else (0, 2**bits - 1), mode="colours")


def _rescaling(file: Any, frame: int) -> Span:
    """Return factor and summand."""
    found = _element(file, frame, "PixelValueTransformationSequence", "RescaleSlope")
    factor = 1.0 if found is None else float(found)
    if factor == 0:
        raise OSError("its RescaleSlope is 0, which makes all values one")
    return factor, float(_element(file, frame, "PixelValueTransformationSequence", "RescaleIntercept") or 0)


def _window(file: Any, frame: int) -> Span | None:
    """Return the values that become black and white in the first window of a file; None without one."""
    group = "FrameVOILUTSequence"
    centre, width = (_element(file, frame, group, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    middle, whole = _first(centre), _first(width)
    if whole <= 0:
        raise OSError(f"its WindowWidth is {whole:g}, which shows nothing")
    if str(_element(file, frame, group, "VOILUTFunction") or "LINEAR") == "LINEAR":  # DICOM PS3.3 C.11.2.1.2
        middle, whole = middle - 0.5, whole - 1
    low = middle - whole / 2
    return low, max(middle + whole / 2, low + _LEAST)


def _range_of_bits(file: Any, frame: int) -> Span | None:
    """Return the values that the bits of a file, or of the table that gives them, can hold; None of real numbers."""
    if "ModalityLUTSequence" in file:
        return _range_of_table(file.ModalityLUTSequence[0])
    if "BitsStored" not in file:
        return None
    bits, (factor, intercept) = int(file.BitsStored), _rescaling(file, frame)
    lowest = -(2 ** (bits - 1)) if file.PixelRepresentation else 0
    ends = sorted((lowest * factor + intercept, (lowest + 2**bits - 1) * factor + intercept))
    return ends[0], max(ends[1], ends[0] + _LEAST)


def _range_of_table(table: Any) -> Span:
    """Return the values that a table (LUT) can give."""
    return 0.0, 2.0 ** int(table.LUTDescriptor[2]) - 1


def _element(file: Any, frame: int, group: str, name: str) -> Any:
    """Return an element of a file, or of one frame of a file of several, which keeps it in groups; None without it."""
    if file.get(name) is not None:
        return file.get(name)
    own = list(file.get("PerFrameFunctionalGroupsSequence") or ())[frame : frame + 1]
    for functional in (*own, *(file.get("SharedFunctionalGroupsSequence") or ())):
        for item in functional.get(group) or ():
            if item.get(name) is not None:
                return item.get(name)
    return None


def _first(value: Any) -> float:
    return float(value[0]) if hasattr(value, "__len__") and not isinstance(value, str) else float(value)
