"""What goes into a call of a model, and what is asked of its modules and parameters."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import beit
from tests.habits.pairs import OPTIONS, assert_close, both, made, pair, pixels

PICTURES = [Image.fromarray(np.full((40, 40, 3), shade, dtype=np.uint8)) for shade in (20, 200)]


@pytest.mark.parametrize("kind", ["np", "jax"])
def test_arrays_are_taken_as_tensors(kind):
    """The published Flax example of masked image modelling gives numpy arrays to the class of PyTorch."""
    processor = beit.BeitImageProcessor(size=32, do_center_crop=False)
    model = made(beit)
    with torch.no_grad():
        expected = model(**processor(PICTURES, return_tensors="pt"))
        found = model(**processor(PICTURES, return_tensors=kind))
    assert_close(found.logits, expected.logits, 0)


def test_masks_and_labels_as_arrays():
    model, mask = made(beit, "BeitForMaskedImageModeling"), np.arange(32).reshape(2, 16) % 2 == 0
    tokens = np.arange(32).reshape(2, 16)
    expected = model(pixels(), torch.from_numpy(mask), labels=torch.from_numpy(tokens)).loss
    assert_close(model(pixels().numpy(), mask, labels=tokens).loss, expected, 0)
    segmenter = made(beit, "BeitForSemanticSegmentation")
    labels = torch.ones(2, 32, 32, dtype=torch.long)
    expected = segmenter(pixels(), labels=labels).loss
    assert_close(segmenter(pixels().numpy(), labels=labels.numpy()).loss, expected, 0)


def test_lists_are_refused_with_the_remedy():
    with pytest.raises(
        beit.BeitError, match=r"pixel_values is a list of 2; expected one tensor .* return_tensors='pt'"
    ):
        made(beit)(**beit.BeitImageProcessor()(PICTURES))


@pytest.mark.parametrize("name", OPTIONS)
def test_parameters_are_counted_alike(tmp_path, name):
    ours, theirs = pair(tmp_path, name)
    for model in (ours, theirs):
        model.get_input_embeddings().requires_grad_(requires_grad=False)
    for options in ({}, {"exclude_embeddings": True}, {"only_trainable": True}):
        assert ours.num_parameters(**options) == theirs.num_parameters(**options)


def test_dynamic_quantisation_finds_as_many_layers(tmp_path):
    counts, outputs = [], []
    for model in pair(tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        counts.append(sum("quantized" in type(part).__module__ for part in quantised.modules()))
        with torch.no_grad():
            outputs.append(quantised(pixels()).logits)
    assert counts[0] == counts[1] > 13
    torch.testing.assert_close(*outputs, rtol=0.1, atol=0.1)


@both
@pytest.mark.parametrize("name", OPTIONS)
def test_hooks_fire_on_every_linear_layer(library, name):
    model, fired = made(library, name), set()
    linears = {part for part in model.modules() if isinstance(part, nn.Linear)}
    for part in linears:
        part.register_forward_hook(lambda part, *_: fired.add(part))
    options = {"labels": torch.zeros(2, 32, 32, dtype=torch.long)} if "Segment" in name else {}
    model(pixels(), **options)
    assert fired == linears
