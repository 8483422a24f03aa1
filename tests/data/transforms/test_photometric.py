"""Photometric distortion."""

import numpy as np
from PIL import Image

from beit.data.transforms.photometric import Distortion


def test_distortion_by_hand():
    picture = Image.fromarray(np.array([[[200, 100, 50], [10, 250, 128]]], np.uint8))
    brighter = np.asarray(Distortion(20.0, None, True, None, None)(picture))
    np.testing.assert_array_equal(brighter, [[[220, 120, 70], [30, 255, 148]]])
    stronger = np.asarray(Distortion(None, 1.5, False, None, None)(picture))
    np.testing.assert_array_equal(stronger, [[[255, 150, 75], [15, 255, 192]]])
    grey = np.asarray(Distortion(None, None, True, 0.0001, None)(picture))
    assert (grey.max(axis=-1) - grey.min(axis=-1)).max() <= 1
    turned = np.asarray(Distortion(None, None, True, None, 1 / 3)(Image.new("RGB", (1, 1), (255, 0, 0))))
    assert np.abs(turned[0, 0].astype(int) - (0, 255, 0)).max() <= 8


def test_each_property_changes_half_of_the_time():
    drawn = [Distortion.draw(np.random.default_rng(seed)) for seed in range(1000)]
    for name in ("brightness", "contrast", "saturation", "hue"):
        values = [getattr(one, name) for one in drawn if getattr(one, name) is not None]
        assert 420 < len(values) < 580
        low, high = {"brightness": (-32, 32), "hue": (-0.1, 0.1)}.get(name, (0.5, 1.5))
        assert low <= min(values) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values) <= high
