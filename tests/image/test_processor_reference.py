"""The processor beside the published one: every recorded case, and the installed reference."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from beit.image.processor import BeitImageProcessor
from tests.conftest import GOLDEN, REAL_DATA
from tests.image.noise import noise

FOLDER = GOLDEN / "processor"
CASE = json.loads((FOLDER / "case.json").read_text())
IO = dict(np.load(FOLDER / "io.npz"))


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
