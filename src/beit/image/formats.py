"""Formats of pictures, and the one place where Pillow opens any.

Pillow knows more than forty. For some of them it starts other programs (Ghostscript for PostScript, whatever the name
of the file), and the rest have had little scrutiny: none of these is tried, wherever a picture comes from.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError, features

from beit.files import open_regular
from beit.image.extra_formats import EXTRA_ENDINGS, register_heif

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
