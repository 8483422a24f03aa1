"""Affine changes of a crop, beside closed forms."""

from math import cos, radians, sin

import numpy as np
import pytest
from PIL import Image

from beit.data.transforms.affine import Affine, AffineRange

BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def picture(height=40, width=56):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def ramps(size=240):
    """The first channel is the column of a pixel, the second its row."""
    places = np.arange(size)
    pixels = np.stack([*np.meshgrid(places, places), np.zeros((size, size))], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def values(image):
    return np.asarray(image, dtype=float)


@pytest.mark.parametrize("resample", [BICUBIC, LANCZOS])
@pytest.mark.parametrize(("box", "size_hw"), [((3, 5, 35, 37), (32, 32)), ((0, 0, 56, 40), (20, 28))])
def test_without_a_change_it_is_the_crop(box, size_hw, resample):
    expected = picture().resize(size_hw[::-1], resample, box=box)
    assert np.abs(values(Affine(0, 0, (0, 0)).cut(picture(), box, size_hw, resample)) - values(expected)).max() <= 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns(turns):
    turned = Affine(90 * turns, 0, (0, 0)).cut(picture(40, 40), (0, 0, 40, 40), (40, 40), BICUBIC)
    assert np.abs(values(turned) - np.rot90(values(picture(40, 40)), turns)).max() <= 1


@pytest.mark.parametrize("size_hw", [(24, 24), (48, 30), (96, 120)], ids=["smaller", "of another shape", "larger"])
@pytest.mark.parametrize(
    "change", [Affine(17, 0, (0, 0)), Affine(0, 0.2, (0, 0)), Affine(0, 0, (0.1, -0.2)), Affine(-12, 0.15, (0.05, 0.1))]
)
def test_every_pixel_shows_its_place(change, size_hw):
    """A ramp has its place as its value, at any scale: each pixel of the result says where it was taken from."""
    box = (80.0, 90.0, 140.0, 150.0)
    shown = values(change.cut(ramps(), box, size_hw, BICUBIC))
    down, across = np.meshgrid(*((np.arange(size) + 0.5) / size - 0.5 for size in size_hw), indexing="ij")
    x, y = 60 * across + change.shear * 60 * down, 60 * down
    angle = radians(change.rotation)
    column = 109.5 + 60 * change.shift[0] + cos(angle) * x - sin(angle) * y
    row = 119.5 + 60 * change.shift[1] + sin(angle) * x + cos(angle) * y
    assert np.abs(shown[..., 0] - column).max() < 1.6  # of 240: what is shrunk is rounded, then cut off
    assert np.abs(shown[..., 1] - row).max() < 1.6


def test_beyond_the_edges_the_picture_is_mirrored():
    image = picture(40, 40)
    shifted = Affine(0, 0, (0.5, 0)).cut(image, (0, 0, 40, 40), (40, 40), BICUBIC)
    right_half = values(image)[:, 20:]
    expected = np.concatenate([right_half, right_half[:, ::-1]], axis=1)
    assert np.abs(values(shifted) - expected).max() <= 1


@pytest.mark.parametrize("size_hw", [(16, 16), (4, 7)])
def test_a_picture_of_one_colour_stays_so(size_hw):
    grey, rng = Image.new("RGB", (8, 13), (200, 100, 50)), np.random.default_rng(0)
    for _ in range(50):
        change = AffineRange(180, 1, 1).draw(rng)
        shown = values(change.cut(grey, (1, 1, 7, 12), size_hw, LANCZOS))
        assert shown.shape == (*size_hw, 3)
        assert np.abs(shown - (200, 100, 50)).max() <= 1


def test_what_is_drawn_stays_in_its_range():
    drawn = [AffineRange(10, 0.2, 0.1).draw(np.random.default_rng(seed)) for seed in range(200)]
    for numbers, most in (
        ([change.rotation for change in drawn], 10),
        ([change.shear for change in drawn], 0.2),
        ([change.shift[0] for change in drawn], 0.1),
        ([change.shift[1] for change in drawn], 0.1),
    ):
        assert -most <= min(numbers) < -0.9 * most
        assert 0.9 * most < max(numbers) <= most
