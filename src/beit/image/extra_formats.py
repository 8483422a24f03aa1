"""Formats that extras bring to folders: HEIC of phones (`heic`), and DICOM of medicine (`dicom`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, BinaryIO, cast

from beit.errors import missing_extra

HEIC, DICOM = (".heic", ".heif", ".hif"), (".dcm", ".dicom")
# Endings of the formats whose library is installed.
EXTRA_ENDINGS = frozenset(
    (HEIC if find_spec("pillow_heif") is not None else ()) + (DICOM if find_spec("pydicom") is not None else ())
)
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_HEAD = 12  # bytes that show a HEIC


def register_heif(stream: BinaryIO) -> bool:
    """Return whether an open file is a HEIC, which Pillow then can open; it stands at its beginning afterwards.

    Raises:
        MissingExtraError: If what reads it is not installed.
    """
    head = stream.read(_HEAD)
    stream.seek(0)
    if head[4:8] != b"ftyp" or head[8:12] not in _BRANDS:
        return False
    try:
        import pillow_heif
    except ModuleNotFoundError:
        raise missing_extra("pillow_heif", "heic") from None
    cast("Any", pillow_heif).register_heif_opener()
    return True
