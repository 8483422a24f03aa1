"""Label maps whose numbers decoding would change."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from beit.data.sources.label_maps import LabelIds
from beit.errors import DataError
from beit.image import BeitImageProcessor
from tests.image.deep_files import png16, tiff

CLASSES = np.zeros((8, 8), np.uint8)
CLASSES[:, 4:], CLASSES[4:, 4:] = 1, 3


def read(folder, content, **options):
    path = folder / "map"
    path.write_bytes(content)
    return LabelIds(4, **options).read(path)


def low_bits(bits):
    """A PNG of grey with few bits."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packed = sum(CLASSES[:, place :: 8 // bits] << (8 - bits * (place + 1)) for place in range(8 // bits))
    rows = b"".join(b"\0" + row.tobytes() for row in packed.astype(np.uint8))
    header = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png(*channels):
    buffer = io.BytesIO()
    Image.fromarray(np.stack(channels, -1)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_in_several_channels_are_kept(tmp_path, channels):
    deep = np.repeat(CLASSES[..., None].astype(np.uint16), channels, -1)
    if channels in (2, 4):
        deep[..., -1] = 65535
    np.testing.assert_array_equal(read(tmp_path, png16(deep)), CLASSES)
    if channels > 2:
        kind = {"photometric": "rgb", "extrasamples": ["unassalpha"] * (channels - 3)}
        np.testing.assert_array_equal(read(tmp_path, tiff(deep, **kind)), CLASSES)


def test_colours_of_16_bits_are_those_of_8_or_refused(tmp_path):
    colours = {(0, 0, 0): 0, (128, 0, 0): 1, (0, 0, 200): 3}
    shown = np.zeros((8, 8, 3), np.uint16)
    for colour, number in colours.items():
        shown[number == CLASSES] = colour
    np.testing.assert_array_equal(read(tmp_path, png16(shown * 257), colours=colours), CLASSES)
    with pytest.raises(DataError, match="colours of 16 bits; expected 8"):
        read(tmp_path, png16(shown), colours=colours)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (low_bits(2), "grey from 0 to 3, which is read as 0 to 255"),
        (low_bits(4), "grey from 0 to 15, which is read as 0 to 255"),
        (b"P5 8 8 3\n" + CLASSES.tobytes(), "grey from 0 to 3, which is read as 0 to 255"),
        (b"P5 8 8 999\n" + CLASSES.astype(">u2").tobytes(), "grey from 0 to 999, which is read as 0 to 65535"),
        (tiff(CLASSES.astype(np.int8) - 1, photometric="minisblack"), "8 bits with a sign"),
    ],
)
def test_numbers_that_decoding_changes_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)
    with pytest.raises(DataError, match=message):
        BeitImageProcessor(size=8, crop_size=8)(Image.new("RGB", (8, 8)), segmentation_maps=content)


def test_stretched_numbers_may_be_mapped(tmp_path):
    mapped = read(tmp_path, low_bits(2), mapping={0: 0, 85: 1, 255: 3})
    np.testing.assert_array_equal(mapped, CLASSES)
    np.testing.assert_array_equal(read(tmp_path, b"P5 8 8 255\n" + CLASSES.tobytes()), CLASSES)


def test_a_map_that_is_drawn_in_its_opacity_is_refused(tmp_path):
    empty = np.zeros_like(CLASSES)
    for channels in ((empty, CLASSES * 80), (empty, empty, empty, CLASSES * 80)):
        with pytest.raises(DataError, match="the number 0 everywhere, and is drawn in its opacity"):
            read(tmp_path, png(*channels))
        np.testing.assert_array_equal(read(tmp_path, png(*channels[:-1], empty)), empty)
    np.testing.assert_array_equal(read(tmp_path, png(CLASSES, CLASSES * 80)), CLASSES)
