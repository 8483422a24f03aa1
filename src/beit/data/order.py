"""Which pictures make up each batch of a run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from beit.data.random import Purpose, generator
from beit.errors import ConfigError

Position = tuple[int, int]  # (epoch, index of the picture)


def check_shared_batch(batch_size: int, world: int) -> None:
    """Refuse a batch that the processes cannot share evenly.

    Raises:
        ConfigError: Naming both numbers and the nearest batch that works.
    """
    if batch_size % world:
        raise ConfigError(
            f"train.batch_size {batch_size} is not a multiple of the {world} processes; "
            f"use {batch_size // world * world or world}"
        )


class BatchOrder:
    """The batches of this rank, from a given step on.

    The epochs' permutations follow each other without a gap: picture number p of the run is entry p % size of epoch
    p // size, and step s of the run takes the pictures s * batch_size to (s + 1) * batch_size, dealt to the ranks in
    turn. So the order is a function of (seed, step) alone, and a resumed run or another number of ranks sees the same.
    """

    def __init__(
        self, size: int, batch_size: int, steps: int, seed: int, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        check_shared_batch(batch_size, world)
        self._size, self._batch_size, self._seed = size, batch_size, seed
        self._start, self._steps = start, steps
        self._rank, self._world = rank, world
        self._permutation = lru_cache(maxsize=2)(self._new_permutation)

    def __len__(self) -> int:
        return self._steps - self._start

    def __iter__(self) -> Iterator[list[Position]]:
        for step in range(self._start, self._steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[Position]:
        """Return this rank's (epoch, index) pairs of a step."""
        first = step * self._batch_size
        places = range(first + self._rank, first + self._batch_size, self._world)
        return [
            (place // self._size, int(self._permutation(place // self._size)[place % self._size])) for place in places
        ]

    def _new_permutation(self, epoch: int) -> NDArray[np.int64]:
        return generator(self._seed, Purpose.ORDER, epoch).permutation(self._size)
