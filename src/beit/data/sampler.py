"""Batch sampler: the pictures of every batch of a run, shuffled over everything or in windows of shards.

Its random numbers, and those of the views and masks, are a function of (seed, epoch, sample index), whatever the
workers, ranks, or draws before.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beit.errors import ConfigError

Position = tuple[int, int]  # (epoch, index of the picture)
Indices = NDArray[np.int64]
_CHUNKS = 16  # of a collection without shards that meet in a window
_KEPT_WINDOWS = 4
_LARGE = 10**6  # pictures whose order takes a tenth of a second and more


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
        shard_sizes: Indices | None = None,
        together: int = 1,
    ) -> None:
        check_shared_batch(batch_size, world, together)
        self._size, self._batch_size = size, batch_size
        self._start, self._steps = start, steps
        self._rank, self._world, self._together = rank, world, together
        self._shuffle = _make_shuffle(size, seed, window, shard_sizes)

    def __len__(self) -> int:
        return self._steps - self._start

    def __iter__(self) -> Iterator[list[Position]]:
        for step in range(self._start, self._steps):
            epoch, place = divmod(step * self._batch_size, self._size)
            if 2 * place >= self._size and (epoch + 1) * self._size < self._steps * self._batch_size:
                self._shuffle.prepare(epoch + 1)
            yield self.batch(step)

    def batch(self, step: int) -> list[Position]:
        """Return this rank's (epoch, index) pairs of a step."""
        first = step * self._batch_size
        deals = range(first + self._rank * self._together, first + self._batch_size, self._world * self._together)
        places = [place for deal in deals for place in range(deal, deal + self._together)]
        return [(place // self._size, self._shuffle(place // self._size, place % self._size)) for place in places]


class Shuffle(Protocol):
    """A permutation of the pictures for every epoch."""

    def __call__(self, epoch: int, place: int) -> int:
        """Return the picture at a place of an epoch."""
        ...

    def prepare(self, epoch: int) -> None:
        """Begin to make the order of an epoch that is needed soon, if that takes long."""
        ...


class WholeShuffle:
    """Shuffle over everything: every order of all pictures is equally likely.

    That of ten million takes a second, which a step would wait for: a thread makes the next one meanwhile.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._permutation = lru_cache(maxsize=2)(self._made_permutation)
        self._coming: dict[int, Future[Indices]] = {}

    def __call__(self, epoch: int, place: int) -> int:
        """Return the picture at a place of an epoch."""
        return int(self._permutation(epoch)[place])

    def prepare(self, epoch: int) -> None:
        """Begin to make the order of an epoch of many pictures; it is the one that would be made when it is needed."""
        if self._size < _LARGE or epoch in self._coming:
            return
        thread = ThreadPoolExecutor(1, "order")
        self._coming = {epoch: thread.submit(self._new_permutation, epoch)}
        thread.shutdown(wait=False)  # it ends with the order, so that no thread is left when measurements fork

    def _made_permutation(self, epoch: int) -> Indices:
        coming = self._coming.get(epoch)
        return self._new_permutation(epoch) if coming is None else coming.result()

    def _new_permutation(self, epoch: int) -> Indices:
        return generator(self._seed, Purpose.ORDER, epoch).permutation(self._size)


class WindowShuffle:
    """Shuffle in windows: shards in random order, their pictures laid end to end, shuffled within each window.

    Only the windows in use are worked out, each from (seed, epoch, its number): no order of a hundred million pictures
    is ever made, and a run that is continued in the middle of an epoch begins in the middle.

    Args:
        shard_sizes: Pictures in each shard, in the order of their numbers.
        window: Pictures that are shuffled among each other.
        seed: Of the order.
    """

    def __init__(self, shard_sizes: Indices, window: int, seed: int) -> None:
        self._sizes, self._window, self._seed = shard_sizes, window, seed
        self._first = np.cumsum(shard_sizes) - shard_sizes  # number of the first picture of each shard
        self._size = int(shard_sizes.sum())
        self._layout = lru_cache(maxsize=2)(self._new_layout)
        self._pictures = lru_cache(maxsize=_KEPT_WINDOWS)(self._new_window)

    def __call__(self, epoch: int, place: int) -> int:
        """Return the picture at a place of an epoch."""
        window, within = divmod(place, self._window)
        return int(self._pictures(epoch, window)[within])

    def prepare(self, epoch: int) -> None:
        """Do nothing: a window is worked out in milliseconds."""

    def _new_layout(self, epoch: int) -> tuple[Indices, Indices]:
        """Return the shards in the order of an epoch, and the place at which each of them ends."""
        shards = generator(self._seed, Purpose.ORDER, epoch).permutation(len(self._sizes))
        return shards, np.cumsum(self._sizes[shards])

    def _new_window(self, epoch: int, window: int) -> Indices:
        shards, ends = self._layout(epoch)
        begin = window * self._window
        places = np.arange(begin, min(begin + self._window, self._size))
        turn = np.searchsorted(ends, places, side="right")
        pictures = places - ends[turn] + self._sizes[shards[turn]] + self._first[shards[turn]]
        return generator(self._seed, Purpose.WINDOW, epoch, window).permutation(pictures)


def _make_shuffle(size: int, seed: int, window: int | None, shard_sizes: Indices | None) -> Shuffle:
    """Return the order of a run: over everything without a window."""
    if window is None:
        return WholeShuffle(size, seed)
    if shard_sizes is None or len(shard_sizes) < 2:
        return WindowShuffle(_chunks(size, window), window, seed)
    return WindowShuffle(shard_sizes, window, seed)


def _chunks(size: int, window: int) -> Indices:
    """Return the sizes of contiguous parts that stand in for shards: small beside a window, so that many meet in it."""
    chunk = -(-window // _CHUNKS)
    sizes = np.full(-(-size // chunk), chunk, dtype=np.int64)
    sizes[-1] = size - chunk * (len(sizes) - 1)
    return sizes
