import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beit.errors import ConfigError, DataError
from beit.image import BandOptions, BeitImageProcessor, Preprocessing, open_image, read_image, to_unit_array
from tests.conftest import GOLDEN


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode):
    picture = read_image(png(Image.new(mode, (9, 7))))
    assert (picture.mode, picture.size) == ("RGB", (9, 7))


@pytest.mark.parametrize(("orientation", "known"), [(0, 1), (1, 1), (3, 3), (6, 6), (9, 1), (300, 1)])
@pytest.mark.parametrize("format_name", ["TIFF", "PNG", "JPEG", "WEBP"])
def test_every_format_says_what_it_was_turned_from(format_name, orientation, known):
    """Label maps are turned by it; Pillow forgets it when it decodes a TIFF."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", (12, 8)).save(buffer, format_name, exif=exif)
    picture = open_image(buffer.getvalue(), "p")
    assert picture.orientation == known
    assert (picture.width, picture.height) == ((8, 12) if known == 6 else (12, 8))


def test_one_of_the_pictures_that_a_camera_puts_into_a_file_is_chosen():
    buffer, size_of_all = io.BytesIO(), (160, 96)
    Image.new("RGB", size_of_all, "red").save(
        buffer, "MPO", save_all=True, append_images=[Image.new("RGB", size_of_all, "blue")]
    )
    for frame, expected in ((None, (254, 0, 0)), (0, (254, 0, 0)), (1, (0, 0, 254))):
        stored = open_image(buffer.getvalue(), "p", bands=BandOptions(3, frame=frame))
        for spare, size in ((1, (160, 96)), (4, (40, 24))):
            picture = stored.decode(spare).picture
            assert (picture.size, picture.getpixel((3, 3))) == (size, expected)
    with pytest.raises(DataError, match=r"p holds 2 pictures, and data\.frame is 2"):
        open_image(buffer.getvalue(), "p", bands=BandOptions(3, frame=2))


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = Image.fromarray(np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16))
    pixels = np.asarray(read_image(png(ramp)))[..., 0].ravel()
    assert np.abs(pixels - np.arange(256)).max() <= 1


def test_pixels_of_unknown_range_are_refused(tmp_path):
    Image.new("F", (9, 9), 7).save(tmp_path / "f.tiff")
    with pytest.raises(DataError, match=r"f\.tiff holds float32 from 7 to 7"):
        read_image(tmp_path / "f.tiff")


def test_damaged_bytes_never_escape_as_something_else(real_data):
    whole = sorted((real_data / "imagenet_samples").glob("*.JPEG"))[0].read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(10, 4000)])
        for place in rng.integers(0, len(damaged), 8):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(DataError):  # anything else is a failure
            assert read_image(bytes(damaged)).mode == "RGB"


def test_rotation_by_exif(tmp_path):
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (10, 20)


def test_real_pictures_are_read(real_data):
    paths = sorted((real_data / "imagenet_samples").glob("*.JPEG"))[:12]
    assert len(paths) == 12
    assert all(min(read_image(path).size) > 50 for path in paths)


def test_broken_pictures_say_what_is_wrong(tmp_path, monkeypatch):
    whole = png(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)))
    cases = {
        "truncated.png": (whole[:-3000], "is broken"),
        "text.png": (b"no picture", "is not a picture"),
        "empty.png": (b"", "is not a picture"),
        "dot.png": (png(Image.new("RGB", (1, 1))), "1 x 1 pixels"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            read_image(tmp_path / name, min_side=8)
        assert name in str(caught.value)
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "absent.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="is large, not broken: it has more than 200 pixels"):
        read_image(whole)


@settings(deadline=None)
@given(st.tuples(*[st.integers(1, 80)] * 2), st.tuples(*[st.integers(1, 40)] * 2), st.sampled_from([0.5, 0.875, 1]))
def test_preprocessing_shape_and_range(size, out_size, share):
    (height, width), (out_height, out_width) = size, out_size
    rng = np.random.default_rng(height * 100 + width)
    picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    view = Preprocessing.cropping((out_height, out_width), share)
    array = view(picture)
    assert array.shape == (3, out_height, out_width)
    assert array.dtype == np.float32
    assert -1 <= array.min() <= array.max() <= 1
    left, top, right, bottom = view.box(height, width)
    assert left >= -1e-6
    assert top >= -1e-6
    assert right <= width + 1e-6
    assert bottom <= height + 1e-6


def test_a_picture_of_model_size_is_only_normalised():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    np.testing.assert_allclose(Preprocessing((16, 16), (16, 16))(picture), to_unit_array(picture) * 2 - 1, atol=1e-6)


def test_saved_and_read_again(tmp_path):
    view = Preprocessing((224, 224), (256, 256), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    view.save_pretrained(tmp_path)
    assert Preprocessing.from_pretrained(tmp_path) == view
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["size"] == {"height": 256, "width": 256}
    Preprocessing.cropping((224, 224), 0.875).save_pretrained(tmp_path)
    assert Preprocessing.from_pretrained(tmp_path) == Preprocessing((224, 224), 256)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["size"] == {"shortest_edge": 256}


@pytest.mark.parametrize("saved", ["as_saved", "old_style"])
def test_the_files_of_the_published_processor_are_read(saved):
    view = Preprocessing.from_pretrained(GOLDEN / "processor" / saved)
    assert view(Image.new("RGB", (500, 300))).shape == (3, *view.image_hw)


def test_numbers_of_the_published_processor(real_data):
    """Pixels recorded from transformers 4.37.2 with its default options, every eighth row and column."""
    io = np.load(GOLDEN / "processor" / "defaults.npz")
    view = Preprocessing.from_pretrained(GOLDEN / "processor" / "as_saved")
    for key in io.files:
        sample, _ = key.split("|")
        ours = view(read_image(real_data / "imagenet_samples" / sample))[:, ::8, ::8]
        np.testing.assert_allclose(ours, io[key], atol=2.1 / 255 / 0.5)  # JPEG decoders differ by a level
        assert np.abs(ours - io[key]).mean() < 1e-3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("{", "JSON"),
        ("[1]", r"holds a list, not an object\); expected the options of a BeitImageProcessor"),
        ('{"size": "big"}', "size is 'big'; expected whole numbers of pixels"),
        ('{"do_resize": false}', "leaves out a step or scales in its own way"),
        ('{"rescale_factor": 0.5}', "leaves out a step or scales in its own way"),
        ('{"size": {"shortest_edge": 64}, "do_center_crop": false}', "makes pictures of any shape"),
    ],
)
def test_bad_files(tmp_path, content, message):
    if content is not None:
        (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        Preprocessing.from_pretrained(tmp_path)


def test_what_a_file_leaves_out_is_as_published(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": 0.25}')
    view = Preprocessing((224, 224), (256, 256), mean=(0.25, 0.25, 0.25))
    assert Preprocessing.from_pretrained(tmp_path) == view


def test_one_picture_is_what_the_processor_makes_of_it():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 210, 3), dtype=np.uint8))
    pixels = BeitImageProcessor()(picture, return_tensors="np").pixel_values[0]
    np.testing.assert_array_equal(Preprocessing((224, 224), (256, 256))(picture), pixels)
