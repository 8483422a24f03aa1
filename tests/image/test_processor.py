"""Batches, options and files of the published processor."""

import copy
import importlib.util
import json
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from beit.errors import MissingExtraError, StorageError
from beit.image.processor import BeitFeatureExtractor, BeitImageProcessor
from tests.conftest import GOLDEN
from tests.image.noise import PLAIN, SMALL, noise

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
    old = BeitImageProcessor.from_pretrained(GOLDEN / "processor" / "old_style" / name)
    assert old.size == {"height": 40, "width": 40}
    assert (old.do_center_crop, old.do_reduce_labels, int(old.resample)) == (False, True, 2)
    assert BeitImageProcessor.from_pretrained(GOLDEN / "processor" / "old_style" / name, size=99).size["width"] == 99
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
