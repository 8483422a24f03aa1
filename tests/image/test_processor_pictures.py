"""What the processor makes of every mode and form of picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from beit.errors import DataError
from beit.image import BandOptions
from beit.image.processor import BeitImageProcessor
from beit.inference.pictures import to_input
from tests.image.noise import MODES, PLAIN, SMALL, file_bytes, noise, picture_of_mode


@pytest.mark.parametrize("mode", MODES)
def test_every_mode(mode):
    image = picture_of_mode(mode)
    assert image.mode == mode
    before = image.tobytes()
    values = BeitImageProcessor(**PLAIN)(image).pixel_values[0]
    assert values.shape == (3, 21, 33)
    assert values.dtype == np.uint8
    assert image.tobytes() == before
    if mode not in ("I;16", "I", "F", "La", "RGBa"):  # whose conversion Pillow clips or refuses
        np.testing.assert_array_equal(values, np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_grey_of_more_than_eight_bits():
    ramp = np.arange(256).reshape(16, 16)
    plain = BeitImageProcessor(**PLAIN)
    for image in (
        Image.fromarray((ramp * 257).astype(np.uint16)),
        Image.fromarray(ramp.astype(np.int32)),
        Image.fromarray(ramp.astype(np.float32)),
        Image.fromarray((ramp / 255).astype(np.float32)),
    ):
        np.testing.assert_array_equal(plain(image).pixel_values[0][0], ramp)
    for wrong in (ramp * 1000, ramp - 1, ramp.astype(np.float32) * np.float32("nan")):
        image = Image.fromarray(wrong.astype(np.float32 if wrong.dtype.kind == "f" else np.int32))
        with pytest.raises(DataError, match=r"whose range is unknown; scale them"):
            plain(image)


def test_all_forms_of_one_picture_give_the_same(tmp_path):
    pixels = noise(33, 47)
    image = Image.fromarray(pixels)
    (tmp_path / "p.png").write_bytes(file_bytes(image))
    processor = BeitImageProcessor(**SMALL)
    expected = processor(image).pixel_values[0]
    forms = {
        "path": tmp_path / "p.png",
        "name": str(tmp_path / "p.png"),
        "bytes": file_bytes(image),
        "bytearray": bytearray(file_bytes(image)),
        "hwc": pixels,
        "chw": pixels.transpose(2, 0, 1),
        "int64": pixels.astype(np.int64),
        "float64": pixels.astype(np.float64),
        "tensor": torch.from_numpy(pixels),
        "gradient": torch.from_numpy(pixels.astype(np.float32)).requires_grad_(),
        "half": torch.from_numpy(pixels).half(),
        "bfloat16": torch.from_numpy(pixels).bfloat16(),
        "lazy": Image.open(tmp_path / "p.png"),
        "batch": pixels[None],
        "nested": [[[image]]],
    }
    for name, form in forms.items():
        values = processor(form).pixel_values
        assert len(values) == 1, name
        np.testing.assert_array_equal(values[0], expected, err_msg=name)


def test_float_pictures_keep_their_level_through_eight_bits():
    pixels = noise(9, 11)
    for unit in (pixels / 255, pixels.astype(np.float32) * np.float32(1 / 255)):
        values = BeitImageProcessor(size={"height": 9, "width": 11}, do_center_crop=False, do_rescale=False)(unit)
        np.testing.assert_allclose(values.pixel_values[0].transpose(1, 2, 0), pixels / 127.5 - 1, atol=1e-6)


def test_rescaling_twice_is_warned_of():
    unit = noise(9, 11).astype(np.float32) / 255
    for options in ({}, {"do_resize": False}):
        with pytest.warns(UserWarning, match="do_rescale=False if they were divided"):
            twice = BeitImageProcessor(**SMALL)(unit, **options)
        assert np.abs(twice.pixel_values[0] + 1).max() < 2.1 / 255, "done as asked: all but black"


def test_grey_arrays_and_other_channel_counts():
    grey = noise(20, 30, 1)
    processor = BeitImageProcessor(**SMALL)
    expected = processor(Image.fromarray(grey[..., 0])).pixel_values[0]
    np.testing.assert_array_equal(processor(grey[..., 0]).pixel_values[0], expected)
    assert len(processor(np.stack([grey[..., 0]] * 4), input_data_format="none").pixel_values) == 4
    single = processor(grey, image_mean=0.5, image_std=0.5).pixel_values[0]
    np.testing.assert_array_equal(single[0], expected[0])
    many = noise(20, 30, 7)
    values = processor(many, image_mean=[0.5] * 7, image_std=[0.5] * 7, input_data_format="channels_last")
    assert values.pixel_values[0].shape == (7, 32, 40)
    np.testing.assert_array_equal(
        values.pixel_values[0][3], processor(Image.fromarray(many[..., 3])).pixel_values[0][0]
    )


def test_wide_numbers_without_resizing():
    pixels = noise(6, 5).astype(np.uint16) * 257
    values = BeitImageProcessor(do_resize=False, do_center_crop=False, rescale_factor=1 / 65535)(pixels).pixel_values[0]
    np.testing.assert_allclose(values.transpose(1, 2, 0), pixels / 32767.5 - 1, atol=1e-6)
    with pytest.raises(DataError, match=r"uint16 from \d+ to \d+; resizing needs .*; scale it"):
        BeitImageProcessor()(pixels)


def test_black_and_white_arrays():
    mask = noise(8, 8)[..., 0] > 127
    values = BeitImageProcessor(**PLAIN)(mask).pixel_values[0]
    np.testing.assert_array_equal(values[1], np.asarray(Image.fromarray(mask).convert("L")))


def test_exif_orientation_is_applied_to_files_and_pictures(tmp_path):
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    for form in (tmp_path / "turned.jpg", Image.open(tmp_path / "turned.jpg"), (tmp_path / "turned.jpg").read_bytes()):
        assert BeitImageProcessor(**PLAIN)(form).pixel_values[0].shape == (3, 20, 10)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("tags", [{262: 0}, {42113: "7"}, {262: 0, 42113: "7"}])
def test_what_a_tiff_declares_holds_for_the_opened_picture_too(tmp_path, depth, tags):
    values = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(depth)
    values[:8] = 7
    values *= 1 if depth == np.uint8 else 200
    tags = {tag: str(int(values[0, 0])) if tag == 42113 else value for tag, value in tags.items()}
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo=tags)
    processor = BeitImageProcessor(**SMALL)
    file, opened = processor([str(tmp_path / "a.tif"), Image.open(tmp_path / "a.tif")])["pixel_values"]
    np.testing.assert_array_equal(opened, file)
    bands = BandOptions(1, (0, 60_000))
    file, opened = (to_input(one, bands) for one in (tmp_path / "a.tif", Image.open(tmp_path / "a.tif")))
    np.testing.assert_array_equal(opened.unit_array(), file.unit_array())


def test_one_unread_picture_many_times(tmp_path):
    (tmp_path / "p.jpg").write_bytes(file_bytes(Image.fromarray(noise(400, 500)), "JPEG"))
    image = Image.open(tmp_path / "p.jpg")
    values = BeitImageProcessor()([image] * 16, return_tensors="np").pixel_values
    assert (values == values[:1]).all()


def test_real_pictures_many_at_once_as_one_by_one(real_data):
    paths = sorted((real_data / "imagenet_samples").glob("*.JPEG"))[:12]
    processor = BeitImageProcessor()
    batch = processor(paths, return_tensors="np").pixel_values
    assert batch.shape == (12, 3, 224, 224)
    for path, values in zip(paths, batch, strict=True):
        with Image.open(path) as image:
            np.testing.assert_array_equal(processor(image.convert("RGB")).pixel_values[0], values)
