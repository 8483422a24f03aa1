"""Patch features in the report of a pre-training."""

import base64
import io

import numpy as np
import torch
from PIL import Image

from beit.data import Views, open_source, spread
from beit.geometry import Grid
from beit.image import Preprocessing
from beit.image.patch_colours import fit_colours
from beit.tasks.pretrain.feature_colours import colours_section

VIEWS = Views(Preprocessing.cropping((16, 16), 1.0))


def layers_of(count):
    """Features of layers that are plain functions of the pixels: every patch of 4 x 4 pixels, times random numbers."""
    torch.manual_seed(0)
    weights = [torch.randn(48, 12) for _ in range(count)]

    def layers(tensors):
        patches = torch.nn.functional.unfold(tensors["pixel_values"], 4, stride=4).transpose(1, 2)
        return [patches @ one for one in weights]

    return layers


def shown(figure):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(figure.source.partition(",")[2]))))


def test_pictures_share_a_pca_per_layer():
    source, layers = open_source("digits:test"), layers_of(7)
    (section,) = colours_section(layers, source, VIEWS, Grid(4, 4), 3)
    assert "of their patches after layers 2, 5 and 7, as red" in section.text
    assert [[one.caption for one in column] for column in section.gallery] == [
        ["picture", "layer 2", "layer 5", "layer 7"]
    ] * 3
    rng = np.random.default_rng(0)
    views = [VIEWS(spread(source, 3).open(index), rng)["pixel_values"] for index in range(3)]
    found = layers({"pixel_values": torch.from_numpy(np.stack(views))})[4].reshape(3, 4, 4, 12).numpy()
    colours = fit_colours(lambda: found)
    for column, view, map_hwD in zip(section.gallery, views, found, strict=True):
        assert np.array_equal(shown(column[2])[::32, ::32], colours(map_hwD))
        assert np.abs(shown(column[0])[::8, ::8] / 255 - (view * 0.5 + 0.5).transpose(1, 2, 0)).max() < 0.01


def test_few_layers_and_no_pictures():
    source = open_source("digits:test")
    (section,) = colours_section(layers_of(1), source, VIEWS, Grid(4, 4), 1)
    assert [one.caption for one in section.gallery[0]] == ["picture", "layer 1"]
    assert "of their patches after layer 1, as red" in section.text
    assert colours_section(layers_of(1), source, VIEWS, Grid(4, 4), 0) == []
