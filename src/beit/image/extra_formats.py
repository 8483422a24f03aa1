"""Formats that extras bring: HEIC of phones (`heic`), and DICOM of medicine (`dicom`).

Legend: H x W pixels.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import missing_extra
from beit.image.large import most_pixels

HEIC, DICOM = (".heic", ".heif", ".hif"), (".dcm", ".dicom")
# Endings of the formats whose library is installed.
EXTRA_ENDINGS = frozenset(
    (HEIC if find_spec("pillow_heif") is not None else ()) + (DICOM if find_spec("pydicom") is not None else ())
)
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_HEAD = 132  # bytes that show what a file is
_LEVELS = 255
_DEFLATED = "1.2.840.10008.1.2.1.99"  # the transfer syntax whose elements are all compressed, not the pixels alone
_MOST_UNPACKED = 2**28  # bytes of such a file
_BLOCK = 2**20


def extra_format(stream: BinaryIO) -> str | None:
    """Return "HEIF" or "DICOM" for an open file of one of these formats, which is then at its beginning; else None.

    Raises:
        MissingExtraError: If what reads its format is not installed.
    """
    head = stream.read(_HEAD)
    stream.seek(0)
    if is_dicom(head):
        return "DICOM"
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        _register_heif()
        return "HEIF"
    return None


def is_dicom(content: bytes) -> bool:
    """Return whether the bytes of a file, or the first 132 of them, are those of DICOM."""
    return content[128:132] == b"DICM"


def _register_heif() -> None:
    try:
        import pillow_heif
    except ModuleNotFoundError:
        raise missing_extra("pillow_heif", "heic") from None
    cast("Any", pillow_heif).register_heif_opener()


@dataclass(frozen=True)
class Scan:
    """Grey values of a DICOM file, in the unit that its rescaling gives them, such as Hounsfield units.

    Attributes:
        values: Rows and columns, or frames of them.
        window: The values that a screen shows as black and white.
        inverted: Whether low values are the bright ones (MONOCHROME1).
    """

    values: NDArray[np.float64]
    window: tuple[float, float]
    inverted: bool


def opened_dicom(stream: BinaryIO) -> Any:
    """Return a DICOM file as pydicom has it, its pixels not yet decoded.

    Raises:
        MissingExtraError: If what reads it is not installed.
        OSError: If it unpacks to more than a picture holds.
        DecompressionBombError: If it has more pixels than are allowed.
    """
    try:
        import pydicom
    except ModuleNotFoundError:
        raise missing_extra("pydicom", "dicom") from None
    _check_unpacked(stream)
    file: Any = cast("Any", pydicom).dcmread(stream)
    if int(file.Rows) * int(file.Columns) > most_pixels():
        raise Image.DecompressionBombError
    return file


def _check_unpacked(stream: BinaryIO) -> None:
    """Refuse a deflated file that unpacks to too much, which pydicom would unpack as a whole.

    Raises:
        OSError: If it does.
    """
    from pydicom import filereader

    stream.seek(_HEAD)
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


def frames_of(file: Any) -> int:
    """Return how many frames a DICOM file holds."""
    return int(file.get("NumberOfFrames") or 1)


def dicom_scan(file: Any) -> Scan | NDArray[Any]:
    """Return the values of a DICOM file: grey ones as a scan, colours as they are stored, (H, W, 3) of 8 bits."""
    from pydicom import pixels

    stored: NDArray[Any] = file.pixel_array
    if file.get("SamplesPerPixel", 1) > 1:
        return stored
    low, high = _window(file)
    rescaled = np.asarray(cast("Any", pixels).apply_modality_lut(stored, file), np.float64)
    return Scan(rescaled, (low, max(high, low + 1e-9)), file.PhotometricInterpretation == "MONOCHROME1")


def dicom_picture(stream: BinaryIO) -> Image.Image:
    """Return the picture of a DICOM file as a screen shows it: rescaled, in its window, white where it is bright.

    Raises:
        MissingExtraError: If what reads it is not installed.
    """
    file = opened_dicom(stream)
    if frames_of(file) > 1:
        return _several()
    scan = dicom_scan(file)
    if not isinstance(scan, Scan):
        return Image.fromarray(np.ascontiguousarray(scan))
    low, high = scan.window
    grey_HW = np.clip((scan.values - low) / (high - low), 0, 1)
    return Image.fromarray(np.rint((1 - grey_HW if scan.inverted else grey_HW) * _LEVELS).astype(np.uint8))


def _several() -> Image.Image:
    """Return a picture that says of itself, as Pillow's do, that it is one of several, which is refused."""
    several: Any = Image.new("L", (1, 1))
    several.format, several.is_animated = "DICOM", True
    return several


def _window(file: Any) -> tuple[float, float]:
    """Return the values that become black and white: of the file's first window, or else all that its bits can hold."""
    if file.get("WindowCenter") is not None and file.get("WindowWidth") is not None:
        centre, width = _first(file.WindowCenter), _first(file.WindowWidth)
        if str(file.get("VOILUTFunction", "LINEAR")) == "LINEAR":  # DICOM PS3.3 C.11.2.1.2
            centre, width = centre - 0.5, width - 1
        return centre - width / 2, centre + width / 2
    bits, factor = int(file.BitsStored), float(file.get("RescaleSlope") or 1)
    intercept = float(file.get("RescaleIntercept") or 0)
    lowest = -(2 ** (bits - 1)) if file.PixelRepresentation else 0
    return lowest * factor + intercept, (lowest + 2**bits - 1) * factor + intercept


def _first(value: Any) -> float:
    return float(value[0]) if hasattr(value, "__len__") and not isinstance(value, str) else float(value)
