"""Files, options, arguments and pictures that the processor cannot take, each named."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from beit.errors import BeitError, ConfigError, DataError
from beit.image.processor import BeitImageProcessor
from tests.image.noise import PLAIN, file_bytes, noise


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff", b'{"size": 0}', b"[" * 100_000])
def test_bad_files(tmp_path, content):
    path = tmp_path / "preprocessor_config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"(does not exist|is not readable JSON|size is 0).*expected"):
        BeitImageProcessor.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": -1}, r"size is -1; expected whole numbers of pixels above 0"),
        ({"size": {"height": 3}}, r"size is \{'height': 3\}; expected"),
        ({"size": {"longest_edge": 3}}, r"size is .*; expected"),
        ({"size": "256"}, r"size is '256'; expected"),
        ({"size": True}, r"size is True; expected"),
        ({"crop_size": 2.5}, r"crop_size is 2.5; expected"),
        ({"crop_size": {"shortest_edge": 7}}, r"a crop needs both sides"),
        ({"resample": 9}, r"resample is 9; expected one of 0 \(nearest\)"),
        ({"resample": "sharpest"}, r"resample is 'sharpest'; expected one of"),
        ({"rescale_factor": "x"}, r"rescale_factor is 'x'; expected a number"),
        ({"image_mean": [0.5, "x"]}, r"image_mean is \[0.5, 'x'\]; expected one number"),
        ({"image_std": [0.5, 0, 0.5]}, r"image_std is .* other than 0"),
        ({"image_std": float("nan")}, r"image_std is nan"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        BeitImageProcessor(**options)
    with pytest.raises(ConfigError, match=message):
        BeitImageProcessor()(noise(5, 6), **options)


@pytest.mark.parametrize(
    ("images", "call", "kind", "message"),
    [
        ([], {}, ConfigError, "empty list of pictures; pass at least one"),
        (None, {}, ConfigError, "got a NoneType as a picture; expected a Pillow image"),
        ([[1, 2]], {}, ConfigError, r"images\[0\]: got a int as a picture"),
        (np.array([["a"]]), {}, ConfigError, "got an array of <U1 as a picture"),
        ("absent.png", {}, DataError, "absent.png does not exist"),
        ([noise(4, 4), b"text"], {}, DataError, r"images\[1\]: picture is not a picture that can be read"),
        (np.zeros((5, 0, 3)), {}, DataError, r"shape \(5, 0, 3\); expected at least one pixel"),
        (np.zeros(5), {}, DataError, r"shape \(5,\); expected \(height, width\)"),
        (noise(5, 6, 4), {}, DataError, r"shape \(5, 6, 4\), with 1 or 3 .* pass input_data_format"),
        (noise(5, 6, 1), {"image_mean": [0.5, 0.5]}, ConfigError, "has 2 values for a picture of 1 channels"),
        (np.full((5, 6, 3), np.nan), {}, DataError, "holds NaN or infinite values"),
        (noise(5, 6) - 300.5, {}, DataError, "resizing needs whole numbers in 0..255"),
        ([noise(5, 6), noise(6, 5)], {**PLAIN, "return_tensors": "np"}, DataError, r"2 shapes .* cannot be stacked"),
        (noise(5, 6), {"return_tensors": "mlx"}, ConfigError, "return_tensors is 'mlx'; expected None"),
        (noise(5, 6), {"data_format": "first"}, ConfigError, "data_format is 'first'; expected None or one of"),
        (noise(5, 6), {"input_data_format": "x"}, ConfigError, "input_data_format is 'x'"),
        (noise(5, 6), {"segmentation_maps": []}, DataError, "got 0 label maps for 1 pictures; pass one"),
        (noise(5, 6), {"segmentation_maps": np.full((5, 6), 0.5)}, DataError, "values that are not whole"),
        (noise(5, 6), {"segmentation_maps": np.full((5, 6), 2**40)}, DataError, "ids below 2"),
        (noise(5, 6), {"segmentation_maps": Image.new("RGB", (6, 5))}, DataError, "has RGB pixels; expected one class"),
        (noise(5, 6), {"segmentation_maps": np.zeros(5)}, DataError, r"shape \(5,\); expected \(height, width\)"),
        (noise(5, 6), {"segmentation_maps": "absent.png"}, DataError, "absent.png does not exist"),
        (noise(5, 6), {"segmentation_maps": b"text"}, DataError, "label map is not a picture"),
        (noise(5, 6), {"segmentation_maps": [[1]]}, ConfigError, "got a int as a label map"),
    ],
)
def test_arguments_that_cannot_work(images, call, kind, message):
    with pytest.raises(kind, match=message) as caught:
        BeitImageProcessor()(images, **call)
    assert isinstance(caught.value, BeitError)


def test_broken_pictures_in_memory(tmp_path, monkeypatch):
    whole = file_bytes(Image.fromarray(noise(64, 64)))
    (tmp_path / "cut.png").write_bytes(whole[:3000])
    with pytest.raises(DataError, match=r"the picture is broken: .*; fetch or save it again"):
        BeitImageProcessor()(Image.open(tmp_path / "cut.png"))
    with pytest.raises(DataError, match="the label map is broken"):
        BeitImageProcessor()(noise(64, 64), tmp_path / "cut.png")
    with pytest.raises(DataError, match="0 x 5 pixels"):
        BeitImageProcessor()(Image.new("RGB", (5, 0)))

    def refuse(*_):
        raise ValueError("conversion not supported")

    monkeypatch.setattr(Image.Image, "convert", refuse)  # as Pillow before 12 does for some modes
    with pytest.raises(DataError, match=r"LAB pixels .* convert it to RGB first"):
        BeitImageProcessor()(Image.new("LAB", (5, 5)))


def png_of_60000_by_60000():
    """A picture bomb: 60,000 x 60,000 pixels in a few kilobytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes(60_000 * 3 + 1) * 50, 9)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif_of_500_frames():
    frames = [Image.fromarray(np.full((16, 16, 3), value % 256, np.uint8)) for value in range(0, 5000, 10)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def half_a_jpeg():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (png_of_60000_by_60000, "is large, not broken: it has more than 178,956,970 pixels"),
        (half_a_jpeg, "is broken: image file is truncated"),
        (lambda: b"", "is not a picture that can be read"),
        (gif_of_500_frames, r"holds several pictures \(GIF\); expected one, save the one you mean by itself"),
        (lambda: np.full((30, 30, 3), np.nan, np.float32), "holds NaN or infinite values"),
        (lambda: np.zeros((30, 30, 5), np.uint8), r"shape \(30, 30, 5\), with 1 or 3 channels neither first nor last"),
    ],
    ids=["bomb", "truncated", "0 bytes", "500 frames", "NaN", "5 channels"],
)
def test_a_bad_picture_is_named(make, message, tmp_path):
    """By its place in the batch, and a file by its path."""
    good, bad = Image.new("RGB", (40, 30)), make()
    processor = BeitImageProcessor()
    with pytest.raises(DataError, match=rf"images\[1\]: .*{message}"):
        processor([good, bad], return_tensors="np")
    if isinstance(bad, bytes):
        path = tmp_path / "picture.img"
        path.write_bytes(bad)
        with pytest.raises(DataError, match=rf"picture.img .*{message}"):
            processor([good, path], return_tensors="np")


def test_as_many_maps_as_pictures():
    maps = [np.zeros((30, 40), np.uint8)] * 3
    with pytest.raises(DataError, match="got 3 label maps for 1 pictures; pass one map for each picture"):
        BeitImageProcessor()([Image.new("RGB", (40, 30))], maps)


@pytest.mark.parametrize("name", ["resample", "image_mean", "image_std", "rescale_factor"])
def test_errors_quote_the_beginning_of_a_long_option(tmp_path, name):
    BeitImageProcessor().save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: "a" * 5000}))
    with pytest.raises(ConfigError) as refused:
        BeitImageProcessor.from_pretrained(tmp_path)(Image.new("RGB", (20, 20)))
    assert len(str(refused.value)) < 500
