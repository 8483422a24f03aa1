"""RandAugment, compared with its published table."""

import numpy as np
import pytest
from PIL import Image

from beit.data.transforms.rand_augment import OPERATIONS, RandAugment, augmented

RAMP = Image.fromarray(np.stack([np.arange(256, dtype=np.uint8).reshape(16, 16)] * 3, -1))


ARGUMENTS = {
    "rotate": (0, 15, 27, 30, -27),
    "posterize": (4, 2, 1, 0, 1),
    "solarize": (256, 128, 26, 0, 26),
    "solarize_add": (0, 55, 99, 110, 99),
    "color": (1, 1.45, 1.81, 1.9, 0.19),
    "contrast": (1, 1.45, 1.81, 1.9, 0.19),
    "brightness": (1, 1.45, 1.81, 1.9, 0.19),
    "sharpness": (1, 1.45, 1.81, 1.9, 0.19),
    "shear_x": (0, 0.15, 0.27, 0.3, -0.27),
    "shear_y": (0, 0.15, 0.27, 0.3, -0.27),
    "translate_x": (0, 0.225, 0.405, 0.45, -0.405),
    "translate_y": (0, 0.225, 0.405, 0.45, -0.405),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_published_table(name):
    argument = OPERATIONS[name].argument
    assert [argument(strength, False) for strength in (0, 0.5, 0.9, 1)] == pytest.approx(ARGUMENTS[name][:4])
    assert argument(0.9, True) == pytest.approx(ARGUMENTS[name][4])


def test_there_are_the_fifteen_operations():
    assert OPERATIONS.keys() == ARGUMENTS.keys() | {"auto_contrast", "equalize", "invert"}


def pixels(name, argument, picture=RAMP):
    return np.asarray(augmented(picture, ((name, argument),), (7, 8, 9)))[..., 0].astype(int)


def test_what_operations_do_to_a_ramp():
    ramp = np.asarray(RAMP)[..., 0].astype(int)
    assert np.array_equal(pixels("invert", 0), 255 - ramp)
    assert np.array_equal(pixels("posterize", 1), np.where(ramp < 128, 0, 128))
    assert np.array_equal(pixels("posterize", 0), np.zeros_like(ramp))
    assert np.array_equal(pixels("solarize", 26), np.where(ramp < 26, ramp, 255 - ramp))
    assert np.array_equal(pixels("solarize_add", 99), np.where(ramp < 128, np.minimum(ramp + 99, 255), ramp))
    assert np.array_equal(pixels("brightness", 0.5), ramp // 2)
    half = Image.fromarray((np.asarray(RAMP) // 2).astype(np.uint8))
    assert (pixels("auto_contrast", 0, half).min(), pixels("auto_contrast", 0, half).max()) == (0, 255)


def test_pictures_move_and_what_comes_in_has_the_colour_of_the_mean():
    ramp = np.asarray(RAMP)[..., 0].astype(int)
    moved = pixels("translate_x", 0.25)  # four columns to the left
    assert np.abs(moved[:, 1:11] - ramp[:, 5:15]).max() <= 1
    assert (moved[:, 12:] == 7).all()
    down = pixels("translate_y", -0.25)
    assert (down[:4] == 7).all()
    assert np.abs(down[5:15] - ramp[1:11]).max() <= 1
    sheared = pixels("shear_x", 0.3)  # the lower a row, the further it moves to the left
    assert sheared[0, 0] == 0
    assert (sheared[15, 12:] == 7).all()
    assert (pixels("rotate", 30)[0, 0], pixels("rotate", 0)[3, 3]) == (7, ramp[3, 3])


def test_draws_are_as_published():
    draws = [RandAugment(2, 9, 0.5).draw(np.random.default_rng(seed)) for seed in range(4000)]
    assert np.mean([len(drawn) for drawn in draws]) == pytest.approx(1, abs=0.05)  # each of two with probability 1/2
    counts = {name: sum(drawn[0][0] == name for drawn in draws if drawn) for name in OPERATIONS}
    assert min(counts.values()) > 140  # 3000 / 15 = 200
    angles = np.array([argument for drawn in draws for name, argument in drawn if name == "rotate"])
    assert 26.5 < np.abs(angles).mean() < 27.4
    assert 1 < np.abs(angles).std() < 1.8  # 0.5 of 10 magnitudes of 30 degrees, cut at 10
    assert 0.4 < (angles < 0).mean() < 0.6
    assert np.abs(angles).max() == 30


def test_no_operations_change_nothing_and_draw_nothing():
    rng = np.random.default_rng(0)
    assert RandAugment(0).draw(rng) == ()
    assert rng.random() == np.random.default_rng(0).random()
