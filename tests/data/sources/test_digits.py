"""Embedded digits."""

import numpy as np
from sklearn.datasets import load_digits

from beit.data import open_source


def test_digits_come_in_two_parts():
    train, test = open_source("digits:train"), open_source("digits:test")
    assert (len(train), len(test)) == (1297, 500)
    assert train.load(0).size == (8, 8)
    assert np.array_equal(np.unique(test.labels), np.arange(10))


def test_the_digits_are_those_of_scikit_learn():
    digits = load_digits()
    source = open_source("digits:train")
    picture = np.asarray(source.load(5))[..., 0]
    assert np.array_equal(picture, np.rint(digits.images[5] * (255 / 16)))
    assert np.array_equal(source.labels, digits.target[:1297])
    assert source.classes == [str(name) for name in digits.target_names]
