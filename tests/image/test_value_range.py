"""Deep pictures, in the range that their file declares: tags of TIFF, sBIT of PNG."""

import io

import numpy as np
import pytest
from PIL import Image

from beit.data import open_source
from beit.errors import DataError
from beit.image import BandOptions, as_rgb, open_image, read_image, value_range
from beit.image.input_types import to_picture
from tests.image.deep_files import png16, read
from tests.image.deep_files import tiff as written


def tiff(values, dtype, **tags):
    file = io.BytesIO()
    named = {int(name.removeprefix("tag")): value for name, value in tags.items()}
    Image.fromarray(np.asarray(values, dtype)).save(file, "TIFF", tiffinfo=named)
    return file.getvalue()


def grey(content):
    """The grey of every way to read a file, which is the same for all."""
    found = np.asarray(read_image(content))
    np.testing.assert_array_equal(np.asarray(as_rgb(open_image(content, "a").decode().picture)), found)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(as_rgb(to_picture(image, None).content)), found)
    assert (found[..., :1] == found).all()
    return found[..., 0]


RAMP = np.arange(4096).reshape(64, 64)


def test_twelve_bits_in_sixteen_keep_256_levels():
    found = grey(tiff(RAMP, np.uint16, tag281=4095))
    np.testing.assert_array_equal(found, np.rint(RAMP / 4095 * 255))
    assert len(np.unique(found)) == 256


def test_a_range_that_does_not_begin_at_zero():
    np.testing.assert_array_equal(grey(tiff([[100, 150, 200, 50, 900]], np.uint16, tag280=100, tag281=200)),
                                  [[0, 128, 255, 0, 255]])  # fmt: skip


@pytest.mark.parametrize(("dtype", "values"), [(np.int32, [-1000, 0, 1000]), (np.float32, [-0.5, 0.0, 0.5])])
def test_whole_and_real_numbers_of_32_bits(dtype, values):
    low, high = float(values[0]), float(values[-1])
    found = grey(tiff([values], dtype, tag340=low, tag341=high))
    np.testing.assert_array_equal(found, [[0, 128, 255]])


def test_it_is_turned_too():
    values = np.zeros((4, 6), np.uint16)
    values[0] = 4095
    found = grey(tiff(values, np.uint16, tag281=4095, tag274=6))
    assert found.shape == (6, 4)
    assert (found[:, -1] == 255).all()
    assert not found[:, :-1].any()


def test_without_a_range_it_is_as_before(tmp_path):
    np.testing.assert_array_equal(grey(tiff([[0, 256, 65535]], np.uint16)), [[0, 1, 255]])
    np.testing.assert_array_equal(grey(tiff([[0, 256, 65535]], np.uint16, tag281=0)), [[0, 1, 255]])
    (tmp_path / "a.tif").write_bytes(tiff(np.zeros((16, 16)), np.float32))
    assert not np.asarray(open_source(str(tmp_path)).load(0)).any()  # real numbers from 0 to 1
    (tmp_path / "a.tif").write_bytes(tiff(np.full((16, 16), 7), np.float32))
    with pytest.raises(DataError, match=r"holds float32 from 7 to 7; .* say with data\.value_range"):
        open_source(str(tmp_path)).load(0)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_significant_bits_of_png_are_a_range(channels, bits):
    values = RNG.integers(0, 1 << bits, (9, 7, channels)).astype(np.uint16)
    expected = (values / ((1 << bits) - 1)).transpose(2, 0, 1)
    assert np.allclose(read(png16(values, bits), channels), expected, atol=1e-6)
    for scaled in (values << (16 - bits), values << (16 - bits) | values >> (2 * bits - 16)):  # as PNG asks
        assert np.allclose(read(png16(scaled, bits), channels) * 65535, scaled.transpose(2, 0, 1), atol=1e-2)
    assert np.allclose(read(png16(values, 16), channels) * 65535, values.transpose(2, 0, 1), atol=1e-2)


def test_dark_pictures_of_scaled_values_stay_dark():
    values = np.full((9, 7, 3), 16 * 5, np.uint16)  # 5 of 4095, scaled by 16
    assert read(png16(values, 12)).max() == pytest.approx(80 / 65535)
    assert read(png16(np.zeros((9, 7, 3), np.uint16), 12)).max() == 0


@pytest.mark.parametrize("planes", [False, True])
def test_tags_of_tiff_are_a_range_of_colours(planes):
    values = RNG.integers(0, 4096, (9, 7, 3)).astype(np.uint16)
    stored = np.ascontiguousarray(values.transpose(2, 0, 1)) if planes else values
    options = {"planarconfig": "separate"} if planes else {}
    tags = [(280, "H", 3, (0, 0, 0), True), (281, "H", 3, (4095, 4095, 4095), True)]
    content = written(stored, photometric="rgb", extratags=tags, **options)
    assert np.allclose(read(content), (values / 4095).transpose(2, 0, 1), atol=1e-6)
    assert np.allclose(read(content, 3, (0, 8190)), (values / 8190).transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(("kind", "tags"), [("H", (280, 281)), ("H", (340, 341))])
def test_ranges_of_several_bands_are_one_that_holds_all(kind, tags):
    """As programs write the least and the greatest value of every band."""
    values = np.array([[[10, 500, 3], [100, 4000, 7]]], np.uint16)
    extra = [(tag, kind, 3, tuple(ends), True) for tag, ends in zip(tags, (values[0, 0], values[0, 1]), strict=True)]
    found = read(written(values, photometric="rgb", extratags=extra))
    assert np.allclose(found, ((values - 3.0) / 3997).transpose(2, 0, 1), atol=1e-6)


def test_all_bits_are_a_range_whatever_the_file_declares():
    values = np.array([[0, 1000], [4095, 65535]], np.uint16)
    declared = written(values, extratags=[(281, "H", 1, 4095, True)])
    assert np.allclose(read(declared, 1)[0], (values / 4095).clip(0, 1))
    assert np.allclose(read(declared, 1, "bits")[0], values / 65535)
    signed = np.array([[-32768, 32767]], np.int16)
    assert read(written(signed), 1, "bits")[0].tolist() == [[0, 1]]
    wide = np.array([[0, 2**32 - 1]], np.uint32)
    assert read(written(wide), 1, "bits")[0].tolist() == read(written(wide), 1, (0, 2**32 - 1))[0].tolist() == [[0, 1]]
    assert read(written(np.array([[0, 0.5]], np.float32)), 1, "bits")[0].tolist() == [[0, 0.5]]


def test_deep_grey_where_0_is_white_is_inverted():
    values = np.array([[0, 65535], [100, 30000]], np.uint16)
    assert np.allclose(read(written(values, photometric="miniswhite"), 1)[0], 1 - values / 65535, atol=1e-6)
    assert np.allclose(
        read(written((values >> 8).astype(np.uint8), photometric="miniswhite"), 1)[0], 1 - (values >> 8) / 255
    )


def test_values_beyond_the_range_are_said_once_and_counted(caplog, monkeypatch):
    monkeypatch.setattr(value_range, "_said", set())
    content = tiff(RAMP, np.uint16, tag281=1023)
    options = BandOptions(1)
    for _ in range(2):
        assert open_image(content, "scan.tif", 1, options).decode().picture.cut == pytest.approx(0.75)
    assert [record.getMessage() for record in caplog.records] == [
        "scan.tif holds values from 0 to 4095, beyond the range it declares, [0, 1023]: 75 % of them are cut off; beit "
        "statistics counts all, and a wider data.value_range keeps them"
    ]
    for span, share in (((-1.0, 4095.0), 0.0), ((0.0, 4094.0), 1 / 4096)):
        picture = open_image(content, "scan.tif", 1, BandOptions(1, span)).decode().picture
        assert picture.cut == pytest.approx(share)
    assert "beyond the range of data.value_range, [0, 4094]: 0.0244 %" in caplog.records[-1].getMessage()


def test_complex_numbers_are_refused_whatever_the_range():
    for asked in (None, (0.0, 1.0), "bits"):
        with pytest.raises(DataError, match="holds complex64; expected whole or real numbers"):
            value_range.cut_to_range(np.ones((2, 2), np.complex64), "a.tif", asked)


def test_numbers_that_take_a_small_part_of_16_bits_are_said_once(caplog, monkeypatch):
    monkeypatch.setattr(value_range, "_dark_said", set())
    dim = np.array([0, 1000, 4094], np.uint16)
    for name in ("a", "b"):
        value_range.in_unit_range(dim, name, None)
    (record,) = caplog.records
    assert record.getMessage().startswith("a holds values up to 4094, and 65535 is taken as white")
    assert record.getMessage().endswith("with data.value_range, such as [0, 4095]")
    monkeypatch.setattr(value_range, "_dark_said", set())
    caplog.clear()
    for values, asked, declared in (
        (dim, (0, 4095), None), (dim, "bits", None), (dim, None, (0, 4095)), (dim * 3, None, None),
        (np.zeros(3, np.uint16), None, None), (np.array([0.0, 0.01], np.float32), None, None),
        (np.array([0, 9], np.uint8), None, None),
    ):  # fmt: skip
        value_range.in_unit_range(values, "c", asked, declared)
    assert not caplog.records
