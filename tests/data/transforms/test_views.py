"""Views of a picture."""

import numpy as np
import pytest
from PIL import Image

from beit.data import (
    AffineRange,
    Augmentation,
    RandAugment,
    Views,
)
from beit.image import LoadedPicture, Preprocessing

VIEW = Preprocessing((32, 32), (36, 36))


@pytest.mark.parametrize("affine", [None, AffineRange(20, 0.2, 0.1)], ids=["as it stands", "turned"])
def test_both_views_show_the_same_crop(affine):
    """A smooth picture looks the same at both sizes, wherever crop, flip, jitter, turn, slant and shift fall."""
    shown = Views(VIEW, Augmentation(color_jitter=0.4, affine=affine), (16, 16))
    ramp = np.linspace(0, 255, 64)
    pixels = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.add.outer(ramp, -ramp) / 2 + 127, np.add.outer(-ramp, ramp) / 2 + 127], -1
    )
    picture = Image.fromarray(pixels.astype(np.uint8))
    for seed in range(20):
        views = shown(LoadedPicture(picture), np.random.default_rng(seed))
        large = (views["pixel_values"] + 1) / 2
        halved = large.reshape(3, 16, 2, 16, 2).mean(axis=(2, 4))
        assert np.abs(halved - views["tokenizer_pixels"]).max() < 0.03
        assert 0 <= views["tokenizer_pixels"].min() <= views["tokenizer_pixels"].max() <= 1


def test_an_affine_range_of_zeros_draws_nothing():
    picture = LoadedPicture(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    options = {"color_jitter": 0.4, "rand_augment": RandAugment(), "erase": 0.5}
    for seed in range(10):
        generators = np.random.default_rng(seed), np.random.default_rng(seed)
        without, zeros = (
            Views(VIEW, Augmentation(affine=affine, **options), (16, 16))(picture, rng)
            for affine, rng in zip((None, AffineRange()), generators, strict=True)
        )
        assert all(np.array_equal(without[name], zeros[name]) for name in without)
        assert generators[0].random() == generators[1].random()


def test_operations_and_erasing_change_the_view():
    picture = LoadedPicture(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    still = {"crop_scale": (1, 1), "crop_aspect": (1, 1), "flip": 0.0}
    view = Preprocessing((32, 32), 36)

    def shown(seed, **options):
        return Views(view, Augmentation(**still, **options))(picture, np.random.default_rng(seed))["pixel_values"]

    plain = shown(0)
    assert np.array_equal(plain, shown(1))
    assert sum(not np.array_equal(plain, shown(seed, rand_augment=RandAugment(1))) for seed in range(100)) in range(
        30, 65
    )
    assert sum(not np.array_equal(plain, shown(seed, erase=0.5)) for seed in range(100)) in range(35, 65)
