"""Data set of the hub as a collection, whose shards are fetched when the order of a run comes to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from beit.data.sources.hub.files import hub_name
from beit.data.sources.hub.index import HubIndex, hub_index
from beit.data.sources.parquet.columns import IMAGE_COLUMNS
from beit.data.sources.parquet.shards import ParquetShards
from beit.data.sources.parquet.split_column import DividedRows
from beit.data.sources.progress import progress
from beit.data.sources.source import BrokenShard, ImageSource
from beit.data.sources.tar.shards import TarSource
from beit.errors import DataError
from beit.hub import network_is_off
from beit.image import BandOptions


def open_hub(
    path: str, min_side: int = 8, columns: Sequence[str] = (), mixed: bool = False, bands: BandOptions | None = None
) -> ImageSource:
    """Open a data set of the hub: parquet files are fetched one at a time, tar files before anything else.

    Args:
        path: Its name, behind "hub:".
        min_side: Pictures with a shorter side, in pixels, count as broken.
        columns: Names of the columns of pictures and of labels in parquet files; empty: the usual ones.
        mixed: Whether folders called train and val in tar files are taken as classes, rather than refused.
        bands: Reading of pictures of other than three channels, in tar files also of arrays; None: as RGB.

    Raises:
        DataError: If there is no such data set or split, it holds no pictures, or it cannot be reached.
        StorageError: If files cannot be kept, for example on a full disk.
    """
    index = hub_index(hub_name(path), columns)
    if len(index.rows):
        return HubSource(index, min_side, columns)
    names = progress(index.files, len(index.files), f"fetching {index.dataset.repo_id}", always=True)
    return TarSource([index.dataset.file(name) for name in names], min_side, mixed, bands)


def hub_rows(path: str, columns: Sequence[str] = ()) -> DividedRows | None:
    """Return the splits into which a column of a data set of the hub divides its rows; None if none does.

    Raises:
        DataError: See `open_hub`.
    """
    return hub_index(hub_name(path), columns).divided


class HubSource(ParquetShards):
    """The rows of a split's parquet files, each of which is fetched into the cache of the hub when it is needed.

    `divided` are the splits into which a column divides them, None if none does.
    """

    exact_contents = True

    def __init__(self, index: HubIndex, min_side: int = 8, columns: Sequence[str] = ()) -> None:
        self._dataset, self.divided = index.dataset, index.divided
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
        if (found := index.labels) is not None:
            self.classes, self.label_kind = found.classes, found.kind
            self.labels = found.labels[np.repeat(~missing, index.rows)]
        super().__init__(index.rows[~missing], min_side, columns)

    def shard_name(self, shard: int) -> str:
        """Return the data set and the file in it."""
        return f"{self._dataset.repo_id}/{self._files[shard]}"

    def shard_file(self, shard: int) -> Path:
        """Return the file in the cache of the hub, downloaded if it is not there."""
        file = self._files[shard]
        return self._dataset.cached(file) or self._dataset.file(file)

    def contents(self) -> Iterator[str]:
        """Yield the commit, every shard of it that is used, and the column of pictures if it is none of the usual."""
        yield from (name for name in self._columns[:1] if name not in IMAGE_COLUMNS)
        for file in self._files:
            yield f"{self._dataset.repo_id} {self._dataset.commit} {file}"
