"""Views of a picture."""

import numpy as np
from PIL import Image

from beit.data import (
    Augmentation,
    RandAugment,
    Views,
)
from beit.image import LoadedPicture, Preprocessing

VIEWS = Views(Preprocessing((32, 32), (36, 36)), Augmentation(color_jitter=0.4), (16, 16))


def test_both_views_show_the_same_crop():
    """A smooth picture looks the same at both sizes, wherever the crop, flip and jitter fall."""
    ramp = np.linspace(0, 255, 64)
    pixels = np.stack(
        [np.add.outer(ramp, ramp) / 2, np.add.outer(ramp, -ramp) / 2 + 127, np.add.outer(-ramp, ramp) / 2 + 127], -1
    )
    picture = Image.fromarray(pixels.astype(np.uint8))
    for seed in range(20):
        views = VIEWS(LoadedPicture(picture), np.random.default_rng(seed))
        large = (views["pixel_values"] + 1) / 2
        halved = large.reshape(3, 16, 2, 16, 2).mean(axis=(2, 4))
        assert np.abs(halved - views["tokenizer_pixels"]).max() < 0.03
        assert 0 <= views["tokenizer_pixels"].min() <= views["tokenizer_pixels"].max() <= 1


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
