"""Colours of 16 bits keep all of them, from the file to the model."""

import numpy as np
import pytest
from PIL import Image

from beit.image import BeitImageProcessor, Preprocessing, open_image, read_image, read_picture
from tests.image.deep_files import png16, read, tiff

RNG = np.random.default_rng(0)


def deep(channels, most=65536):
    return RNG.integers(0, most, (9, 7, channels)).astype(np.uint16)


def unit(values, most=65535):
    return (values / most).astype(np.float32).transpose(2, 0, 1)


def test_colours_of_png_keep_16_bits():
    values = deep(3)
    assert np.array_equal(read(png16(values)), unit(values))
    values = deep(4)
    assert np.array_equal(read(png16(values), 4), unit(values))  # opacity is kept ...
    assert np.array_equal(read(png16(values)), unit(values[..., :3]))  # ... or left out
    values = deep(2)
    assert np.array_equal(read(png16(values), 1), unit(values[..., :1]))
    assert np.array_equal(read(png16(values), 2), unit(values))
    assert np.array_equal(read(png16(values)), np.repeat(unit(values[..., :1]), 3, axis=0))
    values = deep(1)
    assert np.array_equal(read(png16(values)), np.repeat(unit(values), 3, axis=0))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"tile": (32, 32)},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "byteorder": ">"},
        {"planarconfig": "separate"},  # which Pillow misreads
        {"planarconfig": "separate", "compression": "zlib"},
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_tiff_keep_16_bits(options, channels):
    values = deep(channels)
    stored = values.transpose(2, 0, 1) if "planarconfig" in options else values
    content = tiff(
        np.ascontiguousarray(stored), photometric="rgb", extrasamples=["unassalpha"] * (channels - 3), **options
    )
    assert np.array_equal(read(content), unit(values[..., :3]))
    if channels == 4:
        assert np.array_equal(read(content, 4), unit(values))


@pytest.mark.parametrize("most", [4095, 65535])
def test_pnm_keeps_its_depth(most):
    values = deep(3, most + 1)
    head = f"P6 7 9 {most}\n".encode()
    assert np.allclose(read(head + values.astype(">u2").tobytes()), unit(values, most))
    plain = f"P3 7 9 {most}\n# words\n".encode() + " ".join(map(str, values.ravel())).encode()
    assert np.allclose(read(plain), unit(values, most))
    grey = values[..., :1]
    assert np.allclose(read(f"P5 7 9 {most}\n".encode() + grey.astype(">u2").tobytes(), 1), unit(grey, most))


def test_a_range_holds_for_colours_and_not_for_8_bits(tmp_path):
    values = deep(3, 10_000)
    assert np.allclose(read(png16(values), 3, (0, 10_000)), unit(values, 10_000))
    Image.new("RGB", (7, 9), (255, 0, 51)).save(tmp_path / "a.png")
    assert read((tmp_path / "a.png").read_bytes(), 3, (0, 10_000))[:, 0, 0].tolist() == pytest.approx([1, 0, 0.2])


def test_deep_colours_reach_the_model(tmp_path):
    step = np.full((32, 32, 3), 30_000, np.uint16)
    step[:, 16:] = 30_100  # less than one of 256 levels
    (tmp_path / "a.png").write_bytes(png16(step))
    view = Preprocessing((32, 32), 32)
    ours = view(read_picture(tmp_path / "a.png"))
    assert ours[0, 0, -1] - ours[0, 0, 0] == pytest.approx(100 / 65535 / 0.5, rel=1e-3)
    published = BeitImageProcessor(size=32, crop_size=32)
    for source in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes()):
        np.testing.assert_allclose(published(source).pixel_values[0], ours, atol=1e-5)
    eight = BeitImageProcessor(size=32, crop_size=32, do_rescale=False, do_normalize=False)
    assert eight(tmp_path / "a.png").pixel_values[0].dtype == np.uint8
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (117, 117, 117)  # round(30000 / 257)
    assert open_image((tmp_path / "a.png").read_bytes(), "a").height == 32


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("planes", [False, True])
def test_deep_colours_are_turned_upright(orientation, planes):
    values = deep(3)
    tags = [(274, "H", 1, orientation, True)]
    stored = values.transpose(2, 0, 1) if planes else values
    options = {"planarconfig": "separate"} if planes else {}
    content = tiff(np.ascontiguousarray(stored), photometric="rgb", extratags=tags, **options)
    plain = tiff((values >> 8).astype(np.uint8), photometric="rgb", extratags=tags)
    turned = np.rint(read(plain) * 255).astype(int)
    assert np.array_equal(np.rint(read(content) * 65535).astype(int) >> 8, turned)
