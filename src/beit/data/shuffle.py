"""The order of the pictures within an epoch: over everything, or in windows of shards that lie end to end."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from beit.data.random import Purpose, generator

Indices = NDArray[np.int64]

_CHUNKS = 16  # of a collection without shards that meet in a window
_KEPT_WINDOWS = 4


class Shuffle(Protocol):
    """A permutation of the pictures for every epoch."""

    def __call__(self, epoch: int, place: int) -> int:
        """Return the picture at a place of an epoch."""
        ...


class WholeShuffle:
    """Every order of all pictures is equally likely."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._permutation = lru_cache(maxsize=2)(self._new_permutation)

    def __call__(self, epoch: int, place: int) -> int:
        """Return the picture at a place of an epoch."""
        return int(self._permutation(epoch)[place])

    def _new_permutation(self, epoch: int) -> Indices:
        return generator(self._seed, Purpose.ORDER, epoch).permutation(self._size)


class WindowShuffle:
    """Shards in random order, their pictures laid end to end, and shuffled within consecutive windows.

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


def make_shuffle(size: int, seed: int, window: int | None, shard_sizes: Indices | None) -> Shuffle:
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
