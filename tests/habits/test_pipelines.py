"""Our models and processors in pipelines of transformers, given as objects: the answers of theirs."""

import numpy as np
import pytest
import torch
from PIL import Image

import beit
from tests.habits.pairs import pair, transformers

PICTURE = Image.effect_noise((40, 48), 80).convert("RGB")
KINDS = {
    "image-classification": "BeitForImageClassification",
    "image-feature-extraction": "BeitModel",
    "image-segmentation": "BeitForSemanticSegmentation",
}
SMALL = {"size": {"height": 32, "width": 32}, "do_center_crop": False}
PROCESSORS = {"our processor": beit.BeitImageProcessor, "their processor": transformers.BeitImageProcessorPil}


def answers(task, model, processor, **options):
    """What a pipeline says of one picture, of several, and in a batch."""
    pipeline = transformers.pipeline(task, model=model, image_processor=processor, device="cpu")
    assert pipeline.model is model
    return [pipeline(PICTURE, **options), *pipeline([PICTURE] * 3, batch_size=2, **options)]


def plain(answer):
    """An answer in lists, texts and arrays."""
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        return [{name: np.asarray(value) if name == "mask" else value for name, value in one.items()} for one in answer]
    return np.asarray(answer)


def assert_alike(ours, theirs):
    if isinstance(ours, np.ndarray):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        return
    assert [one["label"] for one in ours] == [one["label"] for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert (one["score"] or 0.0) == pytest.approx(other["score"] or 0.0, rel=1e-4)
        np.testing.assert_array_equal(one.get("mask"), other.get("mask"))


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("task", KINDS)
def test_a_task(tmp_path, task, processor):
    models = pair(tmp_path, KINDS[task], num_labels=12)
    found = [answers(task, model, PROCESSORS[processor](**SMALL)) for model in models]
    for ours, theirs in zip(*found, strict=True):
        assert_alike(plain(ours), plain(theirs))


@pytest.mark.parametrize("options", [{"pool": True}, {"return_tensors": True}])
def test_features_in_other_forms(tmp_path, options):
    found = [
        answers("image-feature-extraction", model, beit.BeitImageProcessor(**SMALL), **options)
        for model in pair(tmp_path, "BeitModel")
    ]
    assert [isinstance(one, torch.Tensor) for one in found[0]] == ["return_tensors" in options] * 4
    for ours, theirs in zip(*found, strict=True):
        assert_alike(plain(ours), plain(theirs))


@pytest.mark.parametrize("task", KINDS)
def test_a_processor_by_its_older_name(tmp_path, task):
    ours, theirs = pair(tmp_path, KINDS[task], num_labels=12)
    found = [
        plain(transformers.pipeline(task, model=model, feature_extractor=processor(**SMALL), device="cpu")(PICTURE))
        for model, processor in zip((ours, theirs), PROCESSORS.values(), strict=True)
    ]
    assert_alike(*found)


def test_a_pipeline_is_printed(tmp_path):
    for model in pair(tmp_path):
        pipeline = transformers.pipeline("image-classification", model=model, image_processor=beit.BeitImageProcessor())
        assert "input_modalities': ('image',)" in repr(pipeline)
