"""Colours of more than 8 bits change as those of 8 bits do, without losing any."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from beit.data import Augmentation, RandAugment, Views
from beit.data.transforms.jitter import ENHANCERS, enhanced, in_eight_bits
from beit.errors import ConfigError
from beit.image import Bands, LoadedPicture, Preprocessing, to_unit_array

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


@pytest.mark.parametrize("enhancer", ENHANCERS)
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_a_change_is_that_of_pillow(enhancer, factor):
    picture = Image.fromarray(PIXELS)
    ours = enhanced(Bands.of_array(PIXELS / 255), enhancer, factor)
    np.testing.assert_allclose(ours.unit_array(), to_unit_array(enhanced(picture, enhancer, factor)), atol=2 / 255)


def test_no_level_is_lost():
    ramp = np.linspace(0.2, 0.5, 4096).reshape(64, 64, 1).repeat(3, axis=2)
    changed = enhanced(Bands.of_array(ramp), ImageEnhance.Brightness, 1.1)
    assert len(np.unique(changed.unit_array()[0])) == 4096


def test_views_take_deep_colours():
    views = Views(Preprocessing((16, 16), 16), Augmentation(color_jitter=0.4, rand_augment=RandAugment()), (8, 8))
    made = views(LoadedPicture(Bands.of_array(PIXELS / 255)), np.random.default_rng(0))
    assert made["pixel_values"].shape == (3, 16, 16)
    assert made["tokenizer_pixels"].shape == (3, 8, 8)


def test_other_channels_have_no_colours():
    four = Bands.of_array(np.zeros((9, 9, 4)))
    with pytest.raises(ConfigError, match="a picture of 4 channels has no colours to change"):
        enhanced(four, ImageEnhance.Color, 1.2)
    with pytest.raises(ConfigError, match="RandAugment"):
        in_eight_bits(four)
