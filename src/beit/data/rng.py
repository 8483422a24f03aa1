"""Random generators as a function of (seed, epoch, sample index), whatever the workers, ranks, or draws before."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Purpose of random numbers; every purpose draws from its own stream."""

    ORDER = 0
    VIEW = 1
    MASK = 2
    SPLIT = 3
    MODEL = 4
    WINDOW = 5
    MIX = 6
    CLUSTER = 7
    SAMPLE = 8


def generator(seed: int, purpose: Purpose, *position: int) -> np.random.Generator:
    """Return the generator of one purpose at one position, such as (epoch, index)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, int(purpose), *position))))
