"""Rows of many parquet files, each of which is opened when the order of a run comes to it."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.parquet import ParquetSource
from beit.data.source import ImageSource
from beit.errors import DataError
from beit.image import StoredPicture

_MANY = 8  # files to wait for at once that are worth a word
_OWN = ("_fetching", "_thread", "_table", "_damaged")  # of one process


class ParquetShards(ImageSource):
    """Shards of known length, of which a few are open at a time.

    Args:
        rows: Pictures in each.
        min_side: Pictures with a shorter side, in pixels, count as broken.
    """

    def __init__(self, rows: NDArray[np.int64], min_side: int) -> None:
        self._min_side = min_side
        self._rows = self.shard_sizes = rows
        self._ends = np.cumsum(rows)
        self.look_ahead = int(np.ceil(rows.mean()))
        self._begin()

    def _begin(self) -> None:
        """Set up what belongs to one process."""
        self._fetching: dict[int, Future[None]] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._damaged: dict[int, str] = {}
        self._table = lru_cache(maxsize=_most_open())(self._open_table)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what means nothing to a process that was not forked."""
        return {name: value for name, value in vars(self).items() if name not in _OWN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        """Return the shard and the row in it."""
        shard, row = self._place(index)
        return f"{self.shard_name(shard)}, row {row}"

    def open(self, index: int) -> StoredPicture:
        """Return the picture, as yet undecoded."""
        shard, row = self._place(index)
        return self._table(shard).open(row)

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:
        """Have at hand the shards that hold some pictures, and begin to open those of others.

        Raises:
            DataError: If they cannot be fetched.
            StorageError: If they cannot be kept, for example on a full disk.
        """
        needed = self._shards(now)
        for shard in [*needed, *self._shards(soon)]:
            if shard not in self._fetching:
                self._thread = self._thread or ThreadPoolExecutor(1, "fetch")
                self._fetching[shard] = self._thread.submit(self._have, shard)
        waiting = sum(not self._fetching[shard].done() for shard in needed)
        if waiting >= _MANY and os.environ.get("RANK", "0") == "0":
            print(  # noqa: T201  # it may take long
                f"opening {waiting} parquet files for the next pictures, which `datasets` keeps once more in the form "
                "that it maps into memory; with data.shuffle_window they are opened one after the other",
                file=sys.stderr,
            )
        for shard in needed:
            self._fetching[shard].result()

    @abstractmethod
    def shard_name(self, shard: int) -> str:
        """Return what to call a shard in messages."""

    @abstractmethod
    def shard_file(self, shard: int) -> Path:
        """Return the file of a shard, fetched if it is not there.

        Raises:
            DataError: If it cannot be had.
        """

    def _shards(self, indices: Iterable[int]) -> list[int]:
        """Return the shards of some pictures, each once, in the order in which they are met."""
        return list(dict.fromkeys(np.searchsorted(self._ends, list(indices), side="right").tolist()))

    def _place(self, index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - int(self._ends[shard] - self._rows[shard])

    def _have(self, shard: int) -> None:
        """Fetch a shard, and let `datasets` put it into the form in which other processes can open it at once."""
        path = self.shard_file(shard)
        try:
            ParquetSource(path, self._min_side)
        except DataError:
            return  # it is damaged, which its pictures will tell

    def _open_table(self, shard: int) -> ParquetSource:
        if shard in self._damaged:  # not read again for every picture
            raise DataError(self._damaged[shard])
        path = self.shard_file(shard)
        try:
            table = ParquetSource(path, self._min_side)
            if len(table) != self._rows[shard]:
                raise DataError(f"{path} has {len(table)} rows; expected the {self._rows[shard]} that its end told")
        except DataError as error:
            self._damaged[shard] = str(error)
            raise
        return table


def _most_open() -> int:
    """Return how many shards to keep open: each takes a file or two of those that the system allows a process."""
    return max(32, os.sysconf("SC_OPEN_MAX") // 3)
