"""Random crops and erasing."""

import numpy as np
import pytest

from beit.data.transforms.views import erased, random_crop


def test_crops_keep_their_promises():
    rng = np.random.default_rng(0)
    for _ in range(300):
        left, top, right, bottom = random_crop(40, 60, (0.2, 0.5), (0.5, 2), rng)
        assert 0 <= left < right <= 60
        assert 0 <= top < bottom <= 40
        assert 0.15 < (right - left) * (bottom - top) / 2400 < 0.55
        assert 0.4 < (right - left) / (bottom - top) < 2.5


def test_impossible_crops_fall_back_to_the_centre():
    left, top, right, bottom = random_crop(10, 100, (1, 1), (1, 1), np.random.default_rng(0))
    assert (right - left, bottom - top, left) == (10, 10, 45)


def test_erasing_is_a_box_of_noise():
    shares = []
    for seed in range(400):
        changed = erased(np.full((3, 40, 60), 5, np.float32), 1.0, np.random.default_rng(seed))
        box = np.argwhere((changed != 5).any(0))
        (top, left), (bottom, right) = box.min(0), box.max(0) + 1
        assert len(box) == (bottom - top) * (right - left), "a full box"
        shares.append(len(box) / 2400)
        assert 0.25 < (bottom - top) / (right - left) < 4
    assert 0.015 < min(shares) < 0.05
    assert 0.3 < max(shares) < 0.35
    noise = erased(np.full((3, 40, 60), 5, np.float32), 1.0, np.random.default_rng(3))
    noise = noise[noise != 5]
    assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=0.1), pytest.approx(1, abs=0.1))


def test_erasing_by_its_probability():
    flat = np.zeros((3, 8, 8), np.float32)
    assert np.mean([erased(flat, 0.25, np.random.default_rng(s)).any() for s in range(2000)]) == pytest.approx(
        0.25, abs=0.03
    )
    assert not flat.any(), "the caller's picture is as it was"
    rng = np.random.default_rng(0)
    assert erased(flat, 0.0, rng) is flat
    assert rng.random() == np.random.default_rng(0).random()
