"""Which pictures make up each batch of a run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from beit.data.shuffle import make_shuffle
from beit.errors import ConfigError

Position = tuple[int, int]  # (epoch, index of the picture)


def check_shared_batch(batch_size: int, world: int, together: int = 1) -> None:
    """Refuse a batch that the processes cannot share evenly, `together` pictures at a time.

    Raises:
        ConfigError: Naming both numbers and the nearest batch that works.
    """
    if batch_size % (world * together) and together > 1:
        unit = world * together
        raise ConfigError(
            f"train.batch_size {batch_size} is not a multiple of {unit}: pictures are mixed in pairs, and the pairs "
            f"shared by the processes ({world}); use {batch_size // unit * unit or unit}, or set mixing.mixup and "
            "mixing.cutmix to 0"
        )
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

    Args:
        size: Number of pictures.
        batch_size: Pictures per step, over all ranks.
        steps: Of the whole run.
        seed: Of the order.
        start: First step.
        rank: Number of this process.
        world: Number of processes.
        window: Pictures that are shuffled among each other; None shuffles over everything.
        shard_sizes: With a window, pictures in each file that holds many, if there are such files.
        together: Neighbours that are dealt to one rank, because they are mixed with each other.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        steps: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        window: int | None = None,
        shard_sizes: NDArray[np.int64] | None = None,
        together: int = 1,
    ) -> None:
        check_shared_batch(batch_size, world, together)
        self._size, self._batch_size = size, batch_size
        self._start, self._steps = start, steps
        self._rank, self._world, self._together = rank, world, together
        self._shuffle = make_shuffle(size, seed, window, shard_sizes)

    def __len__(self) -> int:
        return self._steps - self._start

    def __iter__(self) -> Iterator[list[Position]]:
        for step in range(self._start, self._steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[Position]:
        """Return this rank's (epoch, index) pairs of a step."""
        first = step * self._batch_size
        deals = range(first + self._rank * self._together, first + self._batch_size, self._world * self._together)
        places = [place for deal in deals for place in range(deal, deal + self._together)]
        return [(place // self._size, self._shuffle(place // self._size, place % self._size)) for place in places]
