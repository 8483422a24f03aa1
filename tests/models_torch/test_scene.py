"""Whole pictures: one scale, several, the mirror image; in memory and in a file."""

import tempfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from beit import BeitConfig, BeitForSemanticSegmentation
from beit.errors import ConfigError, StorageError
from beit.models_torch import scene
from beit.models_torch.scene import SceneInference, segment_scene
from beit.models_torch.sliding_window import Windows
from tests.conftest import TINY_MODEL
from tests.full_disk import full_disk


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    options = {**TINY_MODEL, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "num_labels": 5}
    model = BeitForSemanticSegmentation(BeitConfig(**options, use_relative_position_bias=True)).eval()
    torch.nn.init.normal_(model.decode_head.classifier.weight, std=1.0)
    return model


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))


@torch.inference_mode()
def plain(model, picture, sizes, flip):
    """The mean of the probabilities at some sizes, everything held at once."""
    total = torch.zeros(5, picture.height, picture.width)
    patch = model.config.patch_hw[0]
    for height, width in sizes:
        shown = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(shown)).permute(2, 0, 1)[None] / 127.5 - 1
        for flipped in (False, True) if flip else (False,):
            padded = functional.pad(pixels.flip(3) if flipped else pixels, (0, -width % patch, 0, -height % patch))
            logits = model(padded).logits
            logits = functional.interpolate(logits, padded.shape[2:], mode="bilinear", align_corners=False)
            logits = logits[..., :height, :width]
            logits = functional.interpolate(logits, total.shape[1:], mode="bilinear", align_corners=False)
            probability = logits[0].softmax(dim=0)
            total += probability.flip(2) if flipped else probability
    return total.argmax(dim=0)


def test_one_scale_is_the_model(model, picture):
    found = segment_scene(model, picture, SceneInference())
    assert found.shape == (64, 96)
    assert found.unique().numel() > 1
    assert (found == plain(model, picture, [(64, 96)], flip=False)).float().mean() > 0.999


@pytest.mark.parametrize("in_file", [False, True])
def test_scales_and_mirror_image(model, picture, in_file, monkeypatch):
    if in_file:
        monkeypatch.setattr(scene, "_MOST_IN_MEMORY", 0)
    how = SceneInference(shorter_side=48, scales=(0.5, 1.0, 1.75), flip=True)
    found = segment_scene(model, picture, how)
    expected = plain(model, picture, [(24, 36), (48, 72), (84, 126)], flip=True)
    assert (found == expected).float().mean() > 0.999


def test_a_disk_without_room_for_the_scores_is_named(model, picture, tmp_path, monkeypatch):
    """Their file has its room before it is mapped: writing to a map without would end the process by a signal."""
    monkeypatch.setattr(scene, "_MOST_IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    how = SceneInference(windows=Windows((32, 32), (32, 32)), scales=(1.0,), flip=True)
    with full_disk(1000), pytest.raises(StorageError, match=r"cannot write .*: .*; the scores .* take 122,880 bytes"):
        segment_scene(model, picture, how)
    scores = scene._zeros(5, 64, 96)
    assert (scores.shape, scores.sum()) == ((5, 64, 96), 0)


def test_the_mirror_image_of_a_picture_gives_the_mirror_image(model, picture):
    how = SceneInference(windows=Windows((32, 32), (32, 32)), scales=(1.0,), flip=True)
    turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    agreeing = segment_scene(model, picture, how) == segment_scene(model, turned, how).flip(1)
    assert agreeing.float().mean() > 0.999


@pytest.mark.parametrize("place", ["folder", "file", "package"])
def test_saved_settings_are_found_beside_the_model(place, tmp_path, monkeypatch):
    saved = SceneInference(Windows((24, 24), (8, 8)), 96, (0.5, 1.5), True)
    monkeypatch.setattr("beit.hub.repository.INCLUDED", tmp_path)
    folder = tmp_path / "streets"
    folder.mkdir()
    saved.save_pretrained(folder)
    (folder / "model.safetensors").touch()
    name = {"folder": folder, "file": folder / "model.safetensors", "package": "beit/streets"}[place]
    assert SceneInference.from_pretrained(name, (24, 24)) == saved
    assert SceneInference.from_pretrained(name, (24, 24), flip=False).flip is False


def test_without_saved_settings_those_of_the_published_models_hold(tmp_path):
    published = SceneInference.published((640, 640))
    assert SceneInference.from_pretrained(tmp_path, (640, 640)) == published
    assert SceneInference.from_pretrained("microsoft/beit-base-finetuned-ade-640-640", (640, 640)) == published


def test_no_scale_is_refused():
    with pytest.raises(ConfigError, match=r"scales is \[\]; expected one or more numbers above 0"):
        SceneInference(scales=())
