"""Random generators of a run."""

import numpy as np

from beit.data import Purpose, generator


def test_streams_are_apart():
    draws = {generator(seed, purpose, epoch, index).random() for seed in range(3) for purpose in Purpose
             for epoch in range(3) for index in range(3)}  # fmt: skip
    assert len(draws) == 3 * len(Purpose) * 9
    assert generator(1, Purpose.MASK, 2, 3).random() == generator(1, Purpose.MASK, 2, 3).random()
    assert isinstance(generator(0, Purpose.VIEW), np.random.Generator)
