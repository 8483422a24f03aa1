"""TIFF files of kinds that Pillow misreads or does not know."""

import io

import numpy as np
import pytest
from PIL import Image

from beit.errors import DataError
from beit.image import read_image
from tests.image.deep_files import read, tiff

NUMBERS = np.tile(np.array([-128, -1, 0, 127], np.int8), (8, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_with_a_sign_are_not_read_without_it(channels):
    content = tiff(NUMBERS, photometric="minisblack")
    with pytest.raises(DataError, match=r"holds int8 from -128 to 127; .* data\.value_range"):
        read(content, channels)
    with pytest.raises(DataError, match="holds int8"):
        read_image(content)
    expected = (NUMBERS[0].astype(int) + 128) / 255
    np.testing.assert_allclose(read(content, channels, (-128, 127))[-1, 0], expected, atol=1e-6)


def test_a_palette_of_16_bits_gives_its_colours():
    levels = np.zeros((3, 65536), np.uint16)
    levels[:, 7], levels[:, 300] = (65535, 0, 257), (0, 65535, 514)
    numbers = np.array([[7, 300]] * 8, np.uint16)
    content = tiff(numbers, photometric="palette", colormap=levels, extratags=[(274, "H", 1, 6, True)])
    assert np.asarray(read_image(content))[:, 0].tolist() == [[255, 0, 1], [0, 255, 2]]
    np.testing.assert_allclose(read(content)[:, 1, 3], (0, 1, 514 / 65535), atol=1e-6)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (258, 10, r"scene has numbers of 10 bits; .*pip install imagecodecs"),
        (259, 50001, r"scene has bands that are compressed \(WEBP\); .*pip install imagecodecs"),
        (259, 34887, r"scene has bands that are compressed \(LERC\); .*pip install imagecodecs"),
    ],
)
def test_what_further_libraries_read_is_not_called_broken(tag, value, message):
    with pytest.raises(DataError, match=message):
        read(_with_tag(tag, value))


def _with_tag(number, value):
    """Return a TIFF one of whose tags has another value."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(buffer, "TIFF")
    content = buffer.getvalue()
    at = content.index(number.to_bytes(2, "little") + b"\3\0\1\0\0\0") + 8
    return content[:at] + value.to_bytes(2, "little") + content[at + 2 :]


def nodata(text):
    return {"extratags": [(42113, "s", 0, text, True)]}


@pytest.mark.parametrize(
    ("values", "text", "span", "expected"),
    [
        (np.array([[0.25, -9999]], np.float32), "-9999", None, [0.25, 0]),
        (np.array([[0.25, np.nan]], np.float32), "nan", None, [0.25, 0]),
        (np.array([[0.25, -3.4028234663852886e38]], np.float32), "-3.4028234663852886e+38", None, [0.25, 0]),
        (np.array([[500, -32768]], np.int16), "-32768", (0, 1000), [0.5, 0]),
        (np.array([[500, 65535]], np.uint16), "65535", (0, 1000), [0.5, 0]),
        (np.array([[500, 999]], np.uint16), "-9999", (0, 1000), [0.5, 0.999]),
        (np.array([[500, 0]], np.uint16), "none", (0, 1000), [0.5, 0]),
        (np.array([[255, 255]], np.uint8), "255", None, [0, 0]),
    ],
)
def test_what_stands_for_no_measurement_is_no_value(caplog, monkeypatch, values, text, span, expected):
    monkeypatch.setattr("beit.image.value_range._nodata_said", set())
    content = tiff(np.tile(values, (8, 4)), photometric="minisblack", **nodata(text))
    for channels in (1, 3):
        picture = read(content, channels, span)
        np.testing.assert_allclose(picture[0, 0, :2], expected, atol=1e-6)
    assert ("stands for no measurement" in caplog.text) == (0 in expected and text != "none")
    assert "are cut off" not in caplog.text


def test_a_colour_is_absent_where_all_its_channels_say_so():
    values = np.zeros((8, 8, 3), np.uint8)
    values[0, :3] = (255, 255, 255), (255, 10, 20), (255, 255, 0)
    content = tiff(values, photometric="rgb", **nodata("255"))
    assert np.asarray(read_image(content))[0, :3].tolist() == [[0, 0, 0], [255, 10, 20], [255, 255, 0]]
    bands = np.full((8, 8, 5), 0.5, np.float32)
    bands[0, 0, 2] = -1  # no share, and in one band alone
    content = tiff(bands, photometric="minisblack", planarconfig="contig", **nodata("-1"))
    assert read(content, 5)[:, 0, 0].tolist() == [0.5, 0.5, 0, 0.5, 0.5]
