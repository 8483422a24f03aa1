"""Pictures of data sets on the hub: shards are fetched when the order of a run comes to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from beit.data.hub_files import hub_name
from beit.data.hub_index import HubIndex, hub_index
from beit.data.parquet import ParquetSource
from beit.data.progress import shown
from beit.data.source import BrokenShard, ImageSource
from beit.data.tar import TarSource
from beit.errors import DataError
from beit.hub import network_is_off
from beit.image import StoredPicture

_OPEN_SHARDS = 32


def open_hub(path: str, min_side: int = 8) -> ImageSource:
    """Open a data set of the hub: parquet files are fetched one at a time, tar files before anything else.

    Raises:
        DataError: If there is no such data set or split, it holds no pictures, or it cannot be reached.
        StorageError: If files cannot be kept, for example on a full disk.
    """
    index = hub_index(hub_name(path))
    if len(index.rows):
        return HubSource(index, min_side)
    names = shown(index.files, len(index.files), f"fetching {index.dataset.repo_id}", always=True)
    return TarSource([index.dataset.file(name) for name in names], min_side)


class HubSource(ImageSource):
    """The rows of a split's parquet files, each of which is fetched into the cache of the hub when it is needed."""

    exact_contents = True

    def __init__(self, index: HubIndex, min_side: int = 8) -> None:
        self._dataset, self._min_side = index.dataset, min_side
        self.broken_shards = list(index.broken)
        missing = np.zeros(len(index.files), dtype=bool)
        if network_is_off():
            missing = np.array([index.dataset.cached(file) is None for file in index.files])
            reason = "it has not been fetched, and HF_HUB_OFFLINE=1 turns the network off"
            self.broken_shards += [
                BrokenShard(f"{index.dataset.repo_id}/{file}", reason)
                for file, absent in zip(index.files, missing, strict=True)
                if absent
            ]
            if missing.all():
                raise DataError(f"no shard of {index.dataset.repo_id} can be read; first: {reason}; unset it")
        self._files = [file for file, absent in zip(index.files, missing, strict=True) if not absent]
        self._rows = self.shard_sizes = index.rows[~missing]
        self._ends = np.cumsum(self._rows)
        self.classes = index.classes
        self.labels = index.labels[np.repeat(~missing, index.rows)] if index.labels is not None else None
        self.look_ahead = int(np.ceil(self._rows.mean()))
        self._begin()

    def _begin(self) -> None:
        """Set up what belongs to one process."""
        self._fetching: dict[int, Future[None]] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._table = lru_cache(maxsize=_OPEN_SHARDS)(self._open_table)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what means nothing to a process that was not forked."""
        return {name: value for name, value in vars(self).items() if name not in ("_fetching", "_thread", "_table")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        """Return the shard and the row in it."""
        shard, row = self._place(index)
        return f"{self._dataset.repo_id}/{self._files[shard]}, row {row}"

    def open(self, index: int) -> StoredPicture:
        """Return the picture, as yet undecoded."""
        shard, row = self._place(index)
        return self._table(shard).open(row)

    def contents(self) -> Iterator[str]:
        """Yield the commit, and every shard of it that is used."""
        for file in self._files:
            yield f"{self._dataset.repo_id} {self._dataset.commit} {file}"

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:
        """Have at hand the shards that hold some pictures, and begin to fetch those of others.

        Raises:
            DataError: If they cannot be fetched.
            StorageError: If they cannot be kept, for example on a full disk.
        """
        needed = self._shards(now)
        for shard in [*needed, *self._shards(soon)]:
            if shard not in self._fetching:
                self._thread = self._thread or ThreadPoolExecutor(1, "fetch")
                self._fetching[shard] = self._thread.submit(self._have, shard)
        for shard in needed:
            self._fetching[shard].result()

    def _shards(self, indices: Iterable[int]) -> list[int]:
        """Return the shards of some pictures, each once, in the order in which they are met."""
        return list(dict.fromkeys(np.searchsorted(self._ends, list(indices), side="right").tolist()))

    def _place(self, index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return shard, index - int(self._ends[shard] - self._rows[shard])

    def _have(self, shard: int) -> None:
        """Fetch a shard, and let `datasets` put it into the form in which other processes can open it at once."""
        path = self._dataset.file(self._files[shard])
        try:
            ParquetSource([path], self._min_side)
        except DataError:
            return  # it is damaged, which its pictures will tell

    def _open_table(self, shard: int) -> ParquetSource:
        file = self._files[shard]
        table = ParquetSource([self._dataset.cached(file) or self._dataset.file(file)], self._min_side)
        if len(table) != self._rows[shard]:
            raise DataError(f"{file} has {len(table)} rows; expected the {self._rows[shard]} that its end told")
        return table
