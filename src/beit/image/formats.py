"""Formats of pictures, and the one place where Pillow opens any.

Pillow knows more than forty. For some of them it starts other programs (Ghostscript for PostScript, whatever the name
of the file), and the rest have had little scrutiny: none of these is tried, wherever a picture comes from.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, cast

from PIL import Image, UnidentifiedImageError, features

from beit.errors import missing_extra
from beit.files import open_regular

MOST_BYTES = 2**30  # of a picture file, read whole
ENDINGS = {  # MPO, of cameras, is opened as JPEG
    "BMP": (".bmp",),
    "DIB": (".dib",),  # BMP without its first header
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    "PNG": (".png",),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
if features.check("avif"):  # as this Pillow was built
    ENDINGS["AVIF"] = (".avif",)
if features.check("jpg_2000"):
    ENDINGS["JPEG2000"] = (".j2c", ".j2k", ".jp2", ".jpf", ".jpx")
FORMATS = tuple(ENDINGS)
# Those that extras bring to folders: HEIC of phones (`heic`), and DICOM of medicine (`dicom`).
HEIC, DICOM = (".heic", ".heif", ".hif"), (".dcm", ".dicom")
EXTRA_ENDINGS = frozenset(  # of those whose library is installed
    (HEIC if find_spec("pillow_heif") is not None else ()) + (DICOM if find_spec("pydicom") is not None else ())
)
_HEAD = 12  # bytes that show a HEIC
_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
EXTENSIONS = EXTRA_ENDINGS | {ending for endings in ENDINGS.values() for ending in endings}


@contextmanager
def opened_picture(source: str | Path | bytes) -> Generator[Image.Image]:
    """Yield the picture in a regular file or in bytes; only its header is read as yet.

    Raises:
        OSError: If it is no regular file, or (as `UnidentifiedImageError`) no picture of a known format.
        MissingExtraError: If what reads its format is not installed.
    """
    with (
        io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as stream,
        _opened(stream) as image,
    ):
        yield image


def _opened(stream: BinaryIO) -> Image.Image:
    try:
        return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        stream.seek(0)
        if not register_heif(stream):
            raise
        return Image.open(stream, formats=["HEIF"])


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
