"""Files of more than 8 bits, as people have them."""

import io
import struct
import zlib

import numpy as np

from beit.image import BandOptions, open_image, to_unit_array

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels


def png16(values, significant=None):
    """Return a PNG of 16 bits (H, W, C), each row with the filter "sub", and with the chunk sBIT if bits are given."""
    height, width, channels = values.shape
    rows = b""
    for row in values.astype(">u2"):
        line = np.frombuffer(row.tobytes(), np.uint8)
        before = np.concatenate([np.zeros(2 * channels, np.uint8), line[: -2 * channels]])
        rows += b"\1" + (line - before).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    marked = b"" if significant is None else _chunk(b"sBIT", bytes([significant] * channels))
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + marked + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )  # fmt: skip


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def tiff(values, **options):
    """Return a TIFF as tifffile writes it."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def read(content, channels=3, value_range=None, frame=None):
    """Return the values (C, H, W) of a picture as a job reads it."""
    options = BandOptions(channels, value_range, frame)
    return to_unit_array(open_image(content, "scene", 1, options).decode().picture)
