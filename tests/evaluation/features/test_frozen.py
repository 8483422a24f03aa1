"""Frozen models of a benchmark: their order, their features, and random weights of every architecture."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from beit import BeitConfig, BeitForMaskedImageModeling, BeitModel
from beit.errors import CheckpointError
from beit.evaluation.features.frozen import frozen_models, open_models, raw_pixels
from beit.image import Preprocessing
from beit.settings.benchmark import BenchmarkJob, BenchmarkLabelMapSettings
from beit.settings.groups import DataSettings, ModelSettings
from tests.conftest import TINY_MODEL

CPU = torch.device("cpu")


@pytest.fixture
def models(tmp_path):
    """Two models of one architecture, and one of another with a preprocessor of its own."""
    for name, changes in (("one", {}), ("two", {}), ("wide", {"hidden_size": 48, "image_size": 16})):
        kind = BeitForMaskedImageModeling if name == "two" else BeitModel
        kind(BeitConfig(**{**TINY_MODEL, **changes}, use_mask_token=True)).save_pretrained(tmp_path / name)
    Preprocessing((16, 16), resize=16, mean=(0.1,) * 3).save_pretrained(tmp_path / "wide")
    return [str(tmp_path / name) for name in ("one", "two", "wide")]


def frozen(models, **settings):
    job = BenchmarkJob(tuple(models), DataSettings("pictures"), **settings)
    return frozen_models(job, open_models(job), CPU, "fp32")


def test_random_weights_stand_beside_every_architecture(models):
    one, two, wide = models
    rows = frozen(models)
    assert [row.name for row in rows] == [
        "raw pixels", "random weights", one, two, f"random weights, as {wide}", wide
    ]  # fmt: skip
    assert [row.kind for row in rows] == ["pixels", "random", "model", "model", "random", "model"]
    assert [row.view.image_hw for row in rows[1:]] == [(32, 32)] * 3 + [(16, 16)] * 2
    assert rows[-1].view.mean == rows[-2].view.mean == (0.1,) * 3
    built = BeitModel.from_pretrained(one, add_pooling_layer=False)
    assert rows[1].parameters == rows[2].parameters == sum(parameter.numel() for parameter in built.parameters())


def test_features_are_the_patches_of_every_layer(models):
    pixels = torch.rand(2, 3, 32, 32)
    row = frozen(models[:1])[2]
    with torch.inference_mode():
        found = row.open()({"pixel_values": pixels})
        states = BeitModel.from_pretrained(models[0])(pixels, output_hidden_states=True).hidden_states
    assert [tuple(layer.shape) for layer in found] == [(2, 16, 32)] * 2
    assert all((layer == state[:, 1:]).all() for layer, state in zip(found, states[1:], strict=True))


def test_no_model_is_built_before_its_features_are_asked_for(models, monkeypatch):
    monkeypatch.setattr(BeitModel, "from_checkpoint", None)
    row = frozen(models[:1])[2]
    with pytest.raises(TypeError):
        row.open()


def test_the_content_is_that_of_weights_and_options_wherever_they_lie(models, tmp_path):
    one, two, wide = models
    copied = shutil.copytree(one, tmp_path / "copied")
    rows = {row.name: row.content() for row in frozen([one, two, wide, str(copied)])}
    assert rows[one] == rows[str(copied)]
    assert len(set(rows.values())) == 6  # pixels, random weights of two architectures, three models
    changed = load_file(copied / "model.safetensors")
    changed["embeddings.cls_token"] += 1
    save_file(changed, copied / "model.safetensors", metadata={"format": "pt"})
    assert frozen([str(copied)])[2].content() != rows[one]


def test_the_content_of_random_weights_has_their_seed(models):
    assert frozen(models[:1], seed=0)[1].content() != frozen(models[:1], seed=1)[1].content()


def test_random_weights_are_those_of_the_seed_and_leave_the_stream_alone(models):
    tensors = {"pixel_values": torch.rand(1, 3, 32, 32)}
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        last = [frozen(models[:1], seed=seed)[1].open()(tensors)[-1].numpy() for seed in (0, 0, 1)]
    assert np.array_equal(last[0], last[1])
    assert not np.array_equal(last[0], last[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_random_alone_has_the_architecture_of_the_settings():
    rows = frozen(["random"], model=ModelSettings("tiny", image_size=16, patch_size=8, num_hidden_layers=3))
    assert [row.name for row in rows] == ["raw pixels", "random weights"]
    with torch.inference_mode():
        assert len(rows[1].open()({"pixel_values": torch.rand(1, 3, 16, 16)})) == 3
    assert rows[1].view.resize == 18  # the crop of its settings


def test_raw_pixels_are_768_numbers():
    (layer,) = raw_pixels().open()({"pixel_values": torch.rand(2, 3, 32, 32)})
    assert layer.shape == (2, 1, 768)


def test_raw_pixels_of_patches_are_those_of_the_first_model(models):
    pixels, _, first, *_ = frozen([models[2], models[0]], label_maps=BenchmarkLabelMapSettings("masks", "classes.txt"))
    assert (pixels.name, pixels.grid_hw, pixels.view) == ("raw pixels", (2, 2), first.view)
    (layer,) = pixels.open()({"pixel_values": torch.rand(2, 3, 16, 16)})
    assert layer.shape == (2, 4, 3 * 8 * 8)


def test_a_model_that_is_not_there_is_refused_before_any_is_loaded(models):
    with pytest.raises(CheckpointError, match="no/such/model does not exist"):
        open_models(BenchmarkJob((models[0], "no/such/model"), DataSettings("pictures")))
