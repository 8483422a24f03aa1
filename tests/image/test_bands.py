"""Pictures of any number of channels are changed as Pillow changes each, and shown in at most three."""

import numpy as np
import pytest
from PIL import Image

from beit.image import Bands, Preprocessing, as_rgb, to_unit_array

VALUES = np.random.default_rng(0).random((20, 30, 5), dtype=np.float32)


def test_values_come_back_channels_first():
    bands = Bands.of_array(VALUES)
    assert (bands.size, bands.height, bands.width, len(bands)) == ((30, 20), 20, 30, 5)
    assert np.array_equal(to_unit_array(bands), VALUES.transpose(2, 0, 1))


def test_every_channel_is_resized_by_itself():
    resized = Bands.of_array(VALUES).resize((8, 6), Image.Resampling.BICUBIC, box=(3, 2, 27, 19)).unit_array()
    for channel, found in enumerate(resized):
        alone = Image.fromarray(VALUES[..., channel]).resize((8, 6), Image.Resampling.BICUBIC, box=(3, 2, 27, 19))
        assert np.array_equal(found, np.asarray(alone).clip(0, 1))


def test_mirrored_and_rearranged():
    bands = Bands.of_array(VALUES)
    mirrored = bands.transpose(Image.Transpose.FLIP_LEFT_RIGHT).unit_array()
    assert np.array_equal(mirrored, VALUES[:, ::-1].transpose(2, 0, 1))
    rows, columns = np.array([1, 0, 0]), np.array([2, 2])
    assert np.array_equal(bands.rearranged(rows, columns).unit_array(), VALUES[[1, 0, 0]][:, [2, 2]].transpose(2, 0, 1))


@pytest.mark.parametrize(("channels", "order"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (5, [0, 1, 2])])
def test_what_is_shown_is_rgb(channels, order):
    picture = as_rgb(Bands.of_array(VALUES[..., :channels]))
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), np.rint(VALUES[..., order] * 255).astype(np.uint8))


def test_preprocessing_of_bands_is_that_of_rgb_but_for_rounding():
    pixels = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    view = Preprocessing((16, 16), 20, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    difference = view(Image.fromarray(pixels)) - view(Bands.of_array(pixels / np.float32(255)))
    assert np.abs(difference).max() < 0.02


def test_a_range_is_saved_with_the_preprocessing(tmp_path):
    view = Preprocessing((16, 16), 20, (0.4,), (0.2,), value_range=(0.0, 4095.0))
    view.save_pretrained(tmp_path)
    assert Preprocessing.from_pretrained(tmp_path) == view
    assert view.bands.value_range == (0, 4095)
    assert Preprocessing((16, 16), 20).bands is None
