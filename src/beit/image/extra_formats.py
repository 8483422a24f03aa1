"""Formats that extras bring: HEIC of phones (`heic`), and DICOM of medicine (`dicom`).

Legend: H x W pixels.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beit.errors import missing_extra

HEIC, DICOM = (".heic", ".heif", ".hif"), (".dcm", ".dicom")
# Endings of the formats whose library is installed.
EXTRA_ENDINGS = frozenset(
    (HEIC if find_spec("pillow_heif") is not None else ()) + (DICOM if find_spec("pydicom") is not None else ())
)
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_HEAD = 132  # bytes that show what a file is
_LEVELS = 255


def extra_format(stream: BinaryIO) -> str | None:
    """Return "HEIF" or "DICOM" for an open file of one of these formats, which is then at its beginning; else None.

    Raises:
        MissingExtraError: If what reads its format is not installed.
    """
    head = stream.read(_HEAD)
    stream.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        _register_heif()
        return "HEIF"
    return "DICOM" if head[128:132] == b"DICM" else None


def _register_heif() -> None:
    try:
        import pillow_heif
    except ModuleNotFoundError:
        raise missing_extra("pillow_heif", "heic") from None
    cast("Any", pillow_heif).register_heif_opener()


def dicom_picture(stream: BinaryIO) -> Image.Image:
    """Return the picture of a DICOM file as a screen shows it: rescaled, in its window, white where it is bright.

    Raises:
        MissingExtraError: If what reads it is not installed.
    """
    try:
        import pydicom
        from pydicom import pixels
    except ModuleNotFoundError:
        raise missing_extra("pydicom", "dicom") from None
    file: Any = cast("Any", pydicom).dcmread(stream)
    if int(file.get("NumberOfFrames") or 1) != 1:
        return _several()
    stored: NDArray[Any] = file.pixel_array
    if stored.ndim == 3:  # in colour, 8 bits a channel
        return Image.fromarray(np.ascontiguousarray(stored))
    rescaled_HW = np.asarray(cast("Any", pixels).apply_modality_lut(stored, file), np.float64)
    low, high = _window(file)
    grey_HW = np.clip((rescaled_HW - low) / max(high - low, 1e-9), 0, 1)
    if file.PhotometricInterpretation == "MONOCHROME1":
        grey_HW = 1 - grey_HW
    return Image.fromarray(np.rint(grey_HW * _LEVELS).astype(np.uint8))


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
