"""Image sizes that the patch size does not divide: published configs have them, and the convolution leaves the rest."""

import json
import warnings

import numpy as np
import pytest
import torch

import beit
from tests.habits.pairs import OPTIONS, assert_close, pair, pixels

SIZES = [(88, 16), (63, 14), (33, 8)]


@pytest.mark.filterwarnings("ignore:image_size is")
@pytest.mark.parametrize(("side", "patch"), SIZES)
@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_numbers(tmp_path, name, side, patch):
    ours, theirs = pair(tmp_path, name, image_size=side, patch_size=patch, drop_path_rate=0.0)
    with torch.no_grad():
        one, other = (model(pixels(side=side)) for model in (ours, theirs))
    for mine, its in zip(one.to_tuple(), other.to_tuple(), strict=False):
        for a, b in zip(*(part if isinstance(part, tuple) else (part,) for part in (mine, its)), strict=True):
            assert_close(a, b, 1e-4)


@pytest.mark.filterwarnings("ignore:image_size is")
@pytest.mark.parametrize("name", OPTIONS)
def test_the_same_numbers_in_flax(tmp_path, name):
    ours, _ = pair(tmp_path, name, image_size=33)
    flax = getattr(beit, f"Flax{name}").from_pretrained(tmp_path / "pair")
    with torch.no_grad():
        expected = ours(pixels(side=33)).to_tuple()[0]
    found = flax(pixels(side=33).numpy()).to_tuple()[0]
    for a, b in zip(*(part if isinstance(part, tuple) else (part,) for part in (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_warning_says_what_is_not_seen():
    said = (
        "image_size is 88 x 90 pixels, no multiple of patch_size 16 x 16: the model does not see the last 8 rows and 10"
    )
    with pytest.warns(UserWarning, match=said):
        beit.BeitConfig(image_size=[88, 90])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            beit.BeitConfig(image_size=[88, 91])
    assert len(caught) == 1


@pytest.mark.filterwarnings("ignore:image_size is")
def test_other_sizes_are_refused_as_ever(tmp_path):
    ours, _ = pair(tmp_path, image_size=33)
    assert ours(pixels(side=40)).logits.shape == (2, 3)
    for model in (ours, beit.FlaxBeitForImageClassification.from_pretrained(tmp_path / "pair")):
        with pytest.raises(
            beit.BeitError, match="image height 34 is not a multiple of patch size 8; resize to 32 or 40"
        ):
            model(pixels(side=34).numpy())
    with pytest.raises(beit.BeitError, match=r"34 x 34 pixels|not a multiple"):
        ours(pixels(side=34), interpolate_pos_encoding=False)
    assert json.loads((tmp_path / "pair" / "config.json").read_text())["image_size"] == 33


@pytest.mark.filterwarnings("ignore:image_size is")
def test_pictures_are_classified_by_such_a_model(tmp_path):
    pair(tmp_path, image_size=33)
    beit.BeitImageProcessor(size=33, do_center_crop=False).save_pretrained(tmp_path / "pair")
    predictor = beit.Predictor.from_pretrained(tmp_path / "pair", device="cpu")
    answer = predictor.classify(np.zeros((50, 50, 3), np.uint8))
    assert len(answer.predictions if hasattr(answer, "predictions") else answer) >= 1
