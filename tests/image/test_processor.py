"""The published processor: every recorded case of the reference, then properties of any picture and option."""

import copy
import importlib.util
import io
import json
import pickle
import struct
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from beit.errors import BeitError, ConfigError, DataError, MissingExtraError, StorageError
from beit.image.processor import BeitFeatureExtractor, BeitImageProcessor
from tests.conftest import GOLDEN, REAL_DATA

FOLDER = GOLDEN / "processor"
CASE = json.loads((FOLDER / "case.json").read_text())
IO = dict(np.load(FOLDER / "io.npz"))
SMALL = {"size": {"height": 40, "width": 48}, "crop_size": {"height": 32, "width": 40}}
PLAIN = {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_normalize": False}


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def file_bytes(image, format="PNG", **options):  # noqa: A002  # Pillow's own name
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------ recorded reference


def recorded_picture(name):
    source = CASE["images"][name]
    if "file" in source:
        return Image.open(FOLDER / source["file"])
    path = REAL_DATA / "imagenet_samples" / source["sample"]
    if not path.is_file():
        pytest.skip(f"needs the picture {path} (set BEIT_TEST_DATA)")
    return Image.open(path)


def given_as(image, form):
    if form == "pil":
        return image
    if form == "hw1":
        return np.asarray(image.convert("L"))[..., None]
    pixels = np.asarray(image.convert("RGBA" if form == "rgba" else "RGB"))
    forms = {
        "rgb": lambda: image.convert("RGB"),
        "hwc": lambda: pixels,
        "rgba": lambda: pixels,
        "chw": lambda: pixels.transpose(2, 0, 1),
        "torch": lambda: torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
        "float255": lambda: pixels.astype(np.float32),
        "float01": lambda: pixels.astype(np.float32) / 255,
        "float01_chw": lambda: pixels.transpose(2, 0, 1).astype(np.float32) / 255,
    }
    return forms[form]()


def recorded(case, key):
    """Return what was recorded of each picture."""
    name = f"{case['name']}/{key}"
    return list(IO[name]) if name in IO else [IO[f"{name}_{index}"] for index in range(len(case["images"]))]


@pytest.mark.parametrize("case", CASE["cases"], ids=lambda case: case["name"])
def test_recorded_case(case):
    images = [given_as(recorded_picture(name), case["as"]) for name in case["images"]]
    if case.get("single"):
        images = images[0]
    elif case.get("stacked"):
        images = np.stack(images)
    maps = [IO[f"{case['name']}/map_{index}"] for index in range(len(case["images"]))] if "maps" in case else None
    before = copy.deepcopy(maps)
    if "config" in case:
        processor = BeitImageProcessor.from_pretrained(FOLDER / case["config"], **case["init"])
    else:
        processor = BeitImageProcessor(**case["init"])
    batch = processor(images, maps, **case["call"])

    if case.get("reference_raises"):  # refused there; the same picture converted to RGB is what it should be
        expected = BeitImageProcessor(**case["init"])(recorded_picture(case["images"][0]).convert("RGB"))
        np.testing.assert_array_equal(batch.pixel_values[0], expected.pixel_values[0])
        return
    stacked = "return_tensors" in case["call"]
    assert isinstance(batch["pixel_values"], np.ndarray if stacked else list)
    thin = case.get("thin", 1)
    for ours, theirs in zip(batch.pixel_values, recorded(case, "pixel_values"), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours[..., ::thin, ::thin], theirs, rtol=0, atol=1e-6)
    if thin > 1:
        assert [list(values.shape) for values in batch.pixel_values] == IO["defaults/pixel_values.shape"].tolist()
        means = [values.astype(np.float64).mean() for values in batch.pixel_values]
        np.testing.assert_allclose(means, IO["defaults/pixel_values.mean"], atol=1e-6)
    if maps is not None:
        for ours, theirs in zip(batch.labels, recorded(case, "labels"), strict=True):
            assert ours.dtype == np.int64
            np.testing.assert_array_equal(ours, theirs)
        for now, then in zip(maps, before, strict=True):
            np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("post", CASE["post"], ids=lambda post: post["name"])
@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray], ids=["torch", "numpy"])
def test_recorded_post_processing(post, kind):
    outputs = SimpleNamespace(logits=kind(IO[f"{post['name']}/logits"]))
    maps = BeitImageProcessor().post_process_semantic_segmentation(outputs, post.get("target_sizes"))
    single = f"{post['name']}/maps" in IO
    for index, ours in enumerate(maps):
        theirs = IO[f"{post['name']}/maps"][index] if single else IO[f"{post['name']}/maps_{index}"]
        np.testing.assert_array_equal(np.asarray(ours), theirs)


def test_the_saved_file_is_that_of_the_reference(tmp_path):
    BeitImageProcessor().save_pretrained(tmp_path / "new")
    ours = (tmp_path / "new" / "preprocessor_config.json").read_text()
    assert json.loads(ours) == json.loads((FOLDER / "as_saved" / "preprocessor_config.json").read_text())
    assert BeitImageProcessor.from_pretrained(FOLDER / "as_saved").to_dict() == BeitImageProcessor().to_dict()


@pytest.fixture(scope="module")
def reference():
    """The processor of the installed transformers that needs no torchvision."""
    module = pytest.importorskip("transformers.models.beit.image_processing_pil_beit")
    return module.BeitImageProcessorPil


OPTIONS = [
    {"size": {"height": 256, "width": 256}, "do_center_crop": True},
    {"size": {"height": 256, "width": 256}, "crop_size": {"height": 224, "width": 160}, "do_center_crop": True},
    {"size": {"height": 100, "width": 90}, "do_center_crop": False, "resample": 2},
    {"size": {"height": 64, "width": 64}, "do_center_crop": False, "image_mean": [0.4, 0.5, 0.6]},
    {"size": {"height": 64, "width": 64}, "do_center_crop": False, "do_normalize": False, "rescale_factor": 1 / 127.5},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_numbers_of_the_installed_reference(reference, options, tmp_path):
    images = [Image.fromarray(noise(*hw, seed=hw[0])) for hw in ((375, 500), (500, 371), (50, 20), (1, 7))]
    theirs = reference(**options)(images, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(BeitImageProcessor(**options)(images, return_tensors="np")["pixel_values"], theirs)
    reference(**options).save_pretrained(tmp_path)
    ours = BeitImageProcessor.from_pretrained(tmp_path)
    np.testing.assert_array_equal(ours(images, return_tensors="np").pixel_values, theirs)
    ours.save_pretrained(tmp_path)
    again = reference.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(images, return_tensors="np")["pixel_values"], theirs)


# ---------------------------------------------------------------------------------------------------------- pictures

MODES = ["1", "L", "LA", "La", "P", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"]


def picture_of_mode(mode, height=21, width=33):
    colour = Image.fromarray(noise(height, width, 4))
    if mode in ("RGBa", "La"):
        return colour.convert(mode.upper()).convert(mode)
    if mode == "I;16":
        return Image.fromarray(noise(height, width, 1)[..., 0].astype(np.uint16) * 257)
    return colour.convert("L").convert(mode) if mode in ("I", "LA") else colour.convert("RGB").convert(mode)


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


# --------------------------------------------------------------------------------------- what holds for every picture

sides = st.integers(1, 90) | st.sampled_from([1, 2, 3, 255, 256, 257, 500, 700])
_FILTERS = [name for name in Image.Resampling if name != Image.Resampling.NEAREST]  # as this Pillow has them
sizes = st.fixed_dictionaries({"height": st.integers(1, 60), "width": st.integers(1, 60)})
options = st.fixed_dictionaries(
    {},
    optional={
        "do_resize": st.booleans(),
        "size": sizes | st.integers(1, 60) | st.builds(lambda edge: {"shortest_edge": edge}, st.integers(1, 40)),
        "resample": st.integers(0, 5),
        "do_center_crop": st.booleans(),
        "crop_size": sizes | st.integers(1, 60),
        "do_rescale": st.booleans(),
        "do_normalize": st.booleans(),
        "image_mean": st.sampled_from([0.5, 0.0, [0.485, 0.456, 0.406]]),
        "image_std": st.sampled_from([0.5, 1.0, [0.229, 0.224, 0.225]]),
    },
)


@settings(deadline=None, max_examples=75, suppress_health_check=list(HealthCheck))
@given(sides, sides, st.sampled_from(MODES), options, st.sampled_from(["channels_first", "channels_last"]))
def test_any_picture_any_option(height, width, mode, options, layout):
    if height * width > 200_000:
        width = 20
    image = picture_of_mode(mode, height, width)
    before = image.tobytes()
    processor = BeitImageProcessor(**options)
    saved = copy.deepcopy(processor.to_dict())
    values = processor(image, data_format=layout).pixel_values[0]
    assert image.tobytes() == before
    assert processor.to_dict() == saved

    expected = (height, width)
    if processor.do_resize:
        edge = processor.size.get("shortest_edge")
        sides = (edge * height // min(expected), edge * width // min(expected)) if edge else None
        expected = sides or (processor.size["height"], processor.size["width"])
    if processor.do_center_crop:
        expected = (processor.crop_size["height"], processor.crop_size["width"])
    assert values.shape == ((3, *expected) if layout == "channels_first" else (*expected, 3))
    assert values.dtype == (np.float32 if processor.do_rescale or processor.do_normalize else np.uint8)
    assert np.isfinite(values).all()
    low, high = (0, 1) if processor.do_rescale else (0, 255)
    if processor.do_normalize:
        mean, std = np.asarray(processor.image_mean), np.asarray(processor.image_std)
        low, high = ((low - mean) / std).min(), ((high - mean) / std).max()
    assert low - 1e-4 <= values.min()
    assert values.max() <= high + 1e-4


@settings(deadline=None, max_examples=60)
@given(
    sides,
    sides,
    st.sampled_from([16, 64, 100, 256]),
    st.integers(1, 256),
    st.sampled_from(_FILTERS),
)
@example(1, 256, 256, 1, _FILTERS[-2])  # with Pillow 13 a filter that changes even a picture of the wanted size
@example(300, 256, 256, 224, _FILTERS[-2])
def test_resizing_only_what_is_kept_changes_nothing(height, width, size, crop, resample):
    """Pillow resizes the whole here, and the kept part alone, where that is exact, in the processor."""
    crop = min(crop, size)
    image = Image.fromarray(noise(height, width))
    values = BeitImageProcessor(size=size, crop_size=crop, resample=resample, do_rescale=False, do_normalize=False)(
        image
    )
    start = (size - crop) // 2
    whole = np.asarray(image.resize((size, size), resample))[start : start + crop, start : start + crop]
    np.testing.assert_array_equal(values.pixel_values[0], whole.transpose(2, 0, 1))


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-3, 10), st.floats(-2, 2), st.floats(0.01, 10))
def test_looked_up_values_are_those_of_arithmetic(factor, mean, std):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    processor = BeitImageProcessor(
        do_resize=False, do_center_crop=False, rescale_factor=factor, image_mean=mean, image_std=std
    )
    values = processor(Image.fromarray(pixels)).pixel_values[0][0]
    rescaled = (pixels.astype(np.float64) * factor).astype(np.float32)
    np.testing.assert_array_max_ulp(values, (rescaled - np.float32(mean)) / np.float32(std), maxulp=1)


@settings(deadline=None, max_examples=60)
@given(sides, sides, sizes)
def test_crops_keep_the_centre_and_pad_with_zeros(height, width, crop):
    pixels = noise(height, width)
    processor = BeitImageProcessor(do_resize=False, crop_size=crop, do_rescale=False, do_normalize=False)
    values = processor(Image.fromarray(pixels))
    out = values.pixel_values[0].transpose(1, 2, 0)
    top, left = (height - crop["height"]) // 2, (width - crop["width"]) // 2
    for y in {0, crop["height"] // 2, crop["height"] - 1}:
        for x in {0, crop["width"] // 2, crop["width"] - 1}:
            inside = 0 <= y + top < height and 0 <= x + left < width
            assert (out[y, x] == (pixels[y + top, x + left] if inside else 0)).all()


# -------------------------------------------------------------------------------------------------------- label maps


@settings(deadline=None, max_examples=50)
@given(sides, sides, options, st.booleans(), st.sampled_from([np.uint8, np.int64, np.uint16, np.float32]))
def test_maps_never_gain_a_class(height, width, options, reduce, dtype):
    if height * width > 200_000:
        width = 20
    labels = (
        np.random.default_rng(height).integers(0, 256 if dtype == np.uint8 else 5000, (height, width)).astype(dtype)
    )
    before = labels.copy()
    processor = BeitImageProcessor(**options, do_reduce_labels=reduce)
    batch = processor(Image.fromarray(noise(height, width)), labels)
    out = batch.labels[0]
    np.testing.assert_array_equal(labels, before)
    assert out.dtype == np.int64
    assert out.shape == batch.pixel_values[0].shape[1:]
    known = {int(value) for value in np.unique(before)}
    known = {255 if value in (0, 255) else value - 1 for value in known} if reduce else known
    assert {int(value) for value in np.unique(out)} <= known | {0}  # 0 is the padding
    if not processor.do_resize and not processor.do_center_crop:
        assert not np.shares_memory(out, labels)


def test_reducing_labels():
    labels = np.array([[0, 1, 2], [254, 255, 300]], dtype=np.int32)
    batch = BeitImageProcessor(**PLAIN, do_reduce_labels=True)(noise(2, 3), labels)
    assert batch.labels[0].tolist() == [[255, 0, 1], [253, 255, 299]]
    assert BeitImageProcessor(**PLAIN)(noise(2, 3), labels, do_reduce_labels=True).labels[0][0, 0] == 255
    assert BeitImageProcessor(**PLAIN, reduce_labels=True).do_reduce_labels is True
    assert BeitImageProcessor(**PLAIN)(noise(2, 3), labels, reduce_labels=True).labels[0][0, 0] == 255


def test_reducing_labels_leaves_pictures_alone():
    image = Image.fromarray(noise(50, 60) // 64)
    labels = np.zeros((50, 60), np.uint8)
    plain, reduced = (BeitImageProcessor(**SMALL, do_reduce_labels=reduce)(image, labels) for reduce in (False, True))
    np.testing.assert_array_equal(plain.pixel_values[0], reduced.pixel_values[0])


def test_all_forms_of_maps(tmp_path):
    labels = noise(20, 30, 1)[..., 0] % 7
    image = Image.fromarray(labels)
    palette = image.convert("P")
    palette.putdata(labels.ravel())
    image.save(tmp_path / "m.png")
    processor, picture = BeitImageProcessor(**SMALL), noise(20, 30)
    expected = processor(picture, labels).labels[0]
    assert expected.shape == (32, 40)
    forms = {
        "pil": image,
        "palette": palette,
        "sixteen": Image.fromarray(labels.astype(np.uint16)),
        "path": tmp_path / "m.png",
        "bytes": file_bytes(image),
        "tensor": torch.from_numpy(labels),
        "float": torch.from_numpy(labels).float(),
        "list": [labels],
        "stacked": labels[None],
        "channel": labels[..., None],
        "channels": [labels[None]],
        "batch": labels[None, None],
        "batch_last": labels[None, ..., None],
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(processor(picture, form).labels, [expected], err_msg=name)
    both = processor([picture] * 2, np.stack([labels] * 2)[..., None], return_tensors="pt")
    assert both.labels.shape == (2, 32, 40)
    assert both.labels.dtype == torch.int64
    mask = Image.fromarray(labels > 3)
    assert set(np.unique(processor(picture, mask).labels[0])) == {0, 1}


def test_maps_are_aligned_with_their_pictures():
    labels = noise(37, 53, 1)[..., 0]
    batch = BeitImageProcessor(size=41, crop_size=50, resample=0, do_rescale=False, do_normalize=False)(labels, labels)
    np.testing.assert_array_equal(batch.pixel_values[0][0], batch.labels[0])


# --------------------------------------------------------------------------------------------------- post-processing


@pytest.mark.parametrize("hw", [(1, 1), (5, 7), (12, 10), (13, 200), (160, 160), (333, 77)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_post_processing_is_interpolation(hw, dtype, monkeypatch):
    monkeypatch.setattr("beit.image.post_processing._BAND_VALUES", 5000)  # many bands, the last one shorter
    logits = torch.randn(2, 6, 12, 10, generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = logits.float() if dtype == torch.bfloat16 else logits
    expected = torch.nn.functional.interpolate(exact, size=hw, mode="bilinear", align_corners=False).argmax(1)
    processor = BeitImageProcessor()
    ours = processor.post_process_semantic_segmentation(SimpleNamespace(logits=logits), torch.tensor([hw, hw]))
    assert ours[0].dtype == torch.int64
    assert torch.equal(torch.stack(ours), expected)
    if dtype != torch.bfloat16:
        ours = processor.post_process_semantic_segmentation({"logits": logits.numpy()}, [hw, list(hw)])
        np.testing.assert_array_equal(np.stack(ours), expected.numpy())
        assert ours[0].dtype == np.int64


def test_post_processing_needs_little_memory():
    outputs = SimpleNamespace(logits=np.random.default_rng(0).normal(size=(1, 150, 20, 20)).astype(np.float32))
    tracemalloc = importlib.import_module("tracemalloc")
    tracemalloc.start()
    (found,) = BeitImageProcessor().post_process_semantic_segmentation(outputs, [(600, 800)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (600, 800)
    assert peak < 150 * 600 * 800 * 4 / 2  # the whole volume of scores would be twice as much


@pytest.mark.parametrize(
    ("outputs", "target_sizes", "message"),
    [
        (object(), None, r"a object has no logits; pass what"),
        (SimpleNamespace(logits=np.zeros((2, 3))), None, r"shape \(2, 3\); expected \(batch"),
        (SimpleNamespace(logits=np.zeros((2, 3, 4, 4))), [(4, 4)], r"for 2 pictures; expected one"),
        (SimpleNamespace(logits=np.zeros((1, 3, 4, 4))), [(4, 0)], r"\(4, 0\); expected \(height, width\)"),
        (SimpleNamespace(logits=np.zeros((1, 3, 4, 4))), [(4, 2.5)], r"\(4, 2.5\); expected \(height, width\)"),
        (SimpleNamespace(logits=np.zeros((1, 3, 4, 4))), [4], r"target size is 4; expected \(height, width\)"),
    ],
)
def test_post_processing_says_what_is_wrong(outputs, target_sizes, message):
    with pytest.raises(ConfigError, match=message):
        BeitImageProcessor().post_process_semantic_segmentation(outputs, target_sizes)


# --------------------------------------------------------------------------------------------- batches and frameworks


def test_batches_are_mappings_with_attributes():
    batch = BeitImageProcessor(**SMALL)([noise(9, 9), noise(8, 12)], return_tensors="pt")
    assert batch.pixel_values.shape == (2, 3, 32, 40)
    assert (lambda **inputs: list(inputs))(**batch) == ["pixel_values"]
    assert batch["pixel_values"] is batch.pixel_values
    again = pickle.loads(pickle.dumps(batch))  # noqa: S301  # our own bytes
    assert torch.equal(copy.deepcopy(again).pixel_values, batch.pixel_values)
    with pytest.raises(AttributeError, match=r"no 'labels'; it has 'pixel_values'"):
        _ = batch.labels


def test_moving_batches():
    batch = BeitImageProcessor(**SMALL)(noise(9, 9), noise(9, 9, 1), return_tensors="pt")
    assert batch.to(torch.float16) is batch
    assert batch.pixel_values.dtype == torch.float16
    assert batch.labels.dtype == torch.int64
    assert batch.to("meta", dtype=torch.float32).labels.device.type == "meta"
    assert batch.pixel_values.dtype == torch.float32
    assert isinstance(BeitImageProcessor(**SMALL)(noise(9, 9)).to("cpu").pixel_values, list), "arrays stay"


def test_return_tensors():
    processor, images = BeitImageProcessor(**SMALL), [noise(9, 9), noise(30, 40)]
    lists = processor(images).pixel_values
    assert isinstance(lists, list)
    stacked = processor(images, return_tensors="np").pixel_values
    assert isinstance(stacked, np.ndarray)
    np.testing.assert_array_equal(np.stack(lists), stacked)
    member = SimpleNamespace(value="pt")  # as an enumeration's
    np.testing.assert_array_equal(processor(images, return_tensors=member).pixel_values.numpy(), stacked)
    assert processor.model_input_names == ["pixel_values"]


@pytest.mark.parametrize("name", ["jax", "tf"])
def test_other_frameworks_are_used_or_missed_by_name(name, monkeypatch):
    """What is not installed is stood in for, to see that its function is called with the batch."""
    processor, image = BeitImageProcessor(**SMALL), noise(9, 9)
    expected = processor(image, return_tensors="np").pixel_values
    if name == "jax" and importlib.util.find_spec("jax"):
        np.testing.assert_array_equal(np.asarray(processor(image, return_tensors="jax").pixel_values), expected)
    module, function = {"jax": ("jax.numpy", "asarray"), "tf": ("tensorflow", "convert_to_tensor")}[name]
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{function: lambda array: ("made", array)}))
    monkeypatch.setitem(sys.modules, module.partition(".")[0], sys.modules[module])
    made, values = processor(image, return_tensors=name).pixel_values
    assert made == "made"
    np.testing.assert_array_equal(values, expected)
    monkeypatch.setitem(sys.modules, module, None)  # makes the import fail
    with pytest.raises(MissingExtraError, match=r"is not installed; .*run: pip install"):
        processor(image, return_tensors=name)


def test_layout_of_the_result_follows_the_input():
    processor = BeitImageProcessor(**SMALL)
    image = noise(20, 30)
    shapes = [
        processor(form, data_format=None).pixel_values[0].shape
        for form in (Image.fromarray(image), image, image.transpose(2, 0, 1))
    ]
    assert shapes == [(32, 40, 3), (32, 40, 3), (3, 32, 40)]


def test_ambiguous_layout_is_warned_of():
    strip = noise(1, 50)
    processor = BeitImageProcessor(**PLAIN)
    with pytest.warns(UserWarning, match=r"\(1, 50, 3\) may have its channels first or last"):
        assert processor(strip).pixel_values[0].shape == (3, 1, 50)
    assert processor(strip, input_data_format="channels_first").pixel_values[0].shape == (1, 50, 3)
    with pytest.warns(UserWarning, match="taken as channels_first"):
        assert processor(noise(3, 50)).pixel_values[0].shape == (3, 50, 3)


# -------------------------------------------------------------------------------------------------- options and files


def test_options_are_attributes_and_can_be_given_for_one_call():
    processor = BeitImageProcessor(size=300, crop_size=[20, 30])
    assert processor.size == {"height": 300, "width": 300}
    assert processor.crop_size == {"height": 20, "width": 30}
    assert BeitImageProcessor().image_mean == BeitImageProcessor().image_std == [0.5, 0.5, 0.5]
    image = noise(40, 40)
    assert processor(image).pixel_values[0].shape == (3, 20, 30)
    assert processor.preprocess(images=image, do_center_crop=False).pixel_values[0].shape == (3, 300, 300)
    processor.do_center_crop, processor.size = False, {"height": 7, "width": 8}
    assert processor(image).pixel_values[0].shape == (3, 7, 8)
    assert processor(image, size={"shortest_edge": 5}).pixel_values[0].shape == (3, 5, 5)


@pytest.mark.parametrize("name", ["preprocessor_config.json", ""])
def test_files_of_all_versions(tmp_path, name):
    old = BeitImageProcessor.from_pretrained(FOLDER / "old_style" / name)
    assert old.size == {"height": 40, "width": 40}
    assert (old.do_center_crop, old.do_reduce_labels, int(old.resample)) == (False, True, 2)
    assert BeitImageProcessor.from_pretrained(FOLDER / "old_style" / name, size=99).size["width"] == 99
    options = {"size": {"shortest_edge": 30, "height": None}, "do_rescale": None, "_class": 1, "crop_pct": 0.9}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(options))
    new = BeitImageProcessor.from_pretrained(tmp_path)
    assert new.size == {"shortest_edge": 30}
    assert new.do_rescale is True
    new.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["crop_pct"] == 0.9
    assert BeitImageProcessor.from_pretrained(tmp_path).to_dict() == new.to_dict()


def test_saved_options_are_plain(tmp_path):
    processor = BeitImageProcessor(
        image_mean=np.array([0.1, 0.2, 0.3]), image_std=(0.5, 0.25, 1), resample=Image.Resampling.BOX
    )
    options = processor.to_dict()
    assert options["image_mean"] == [0.1, 0.2, 0.3]
    assert options["image_std"] == [0.5, 0.25, 1]
    assert json.loads(processor.to_json_string()) == options
    assert type(options["resample"]) is int
    assert "BeitImageProcessor {" in repr(processor)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"cannot write .*file.*: (Not a directory|File exists); something else lies there"
    ):
        processor.save_pretrained(tmp_path / "file")


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff", b'{"size": 0}', b"[" * 100_000])
def test_bad_files(tmp_path, content):
    path = tmp_path / "preprocessor_config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"(does not exist|is not readable JSON|size is 0).*expected"):
        BeitImageProcessor.from_pretrained(tmp_path)


def test_the_old_name_is_warned_of():
    with pytest.warns(FutureWarning, match="old name of BeitImageProcessor"):
        extractor = BeitFeatureExtractor(size=32, do_center_crop=False)
    assert extractor(noise(9, 9)).pixel_values[0].shape == (3, 32, 32)
    assert extractor.to_dict()["image_processor_type"] == "BeitImageProcessor"


def test_misspelt_options_are_warned_of():
    with pytest.warns(UserWarning, match=r"'do_centre_crop' is unknown .* 'do_center_crop'"):
        processor = BeitImageProcessor(do_centre_crop=False)
    assert processor.to_dict() == BeitImageProcessor().to_dict() | {"do_centre_crop": False}
    with pytest.warns(UserWarning, match=r"no argument 'sizes'"):
        values = BeitImageProcessor(**SMALL)(noise(9, 9), sizes=3)
    np.testing.assert_array_equal(values.pixel_values, BeitImageProcessor(**SMALL)(noise(9, 9)).pixel_values)


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


@pytest.mark.parametrize("framework", ["torch", "numpy"])
@pytest.mark.parametrize("size", [None, (50, 70), (3, 2), (700, 900)])
def test_scores_on_request(framework, size):
    logits = torch.randn(2, 5, 12, 16, generator=torch.Generator().manual_seed(0))
    sizes = None if size is None else [size, size]
    outputs = {"logits": logits if framework == "torch" else logits.numpy()}
    found = BeitImageProcessor().post_process_semantic_segmentation(outputs, sizes, return_scores=True)
    wide = logits if size is None else torch.nn.functional.interpolate(logits, size=size, mode="bilinear")
    best, labels = wide.softmax(1).max(1)
    for index, (map_HW, scores_HW) in enumerate(found):
        agree = np.asarray(map_HW) == labels[index].numpy()
        assert agree.mean() > 0.999
        np.testing.assert_allclose(np.asarray(scores_HW), best[index].numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["resample", "image_mean", "image_std", "rescale_factor"])
def test_errors_quote_the_beginning_of_a_long_option(tmp_path, name):
    BeitImageProcessor().save_pretrained(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: "a" * 5000}))
    with pytest.raises(ConfigError) as refused:
        BeitImageProcessor.from_pretrained(tmp_path)(Image.new("RGB", (20, 20)))
    assert len(str(refused.value)) < 500
