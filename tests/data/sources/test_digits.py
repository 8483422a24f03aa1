"""Embedded digits."""

import numpy as np

from beit.data import open_source


def test_digits_come_in_two_parts():
    train, test = open_source("digits:train"), open_source("digits:test")
    assert (len(train), len(test)) == (1297, 500)
    assert train.load(0).size == (8, 8)
    assert np.array_equal(np.unique(test.labels), np.arange(10))
