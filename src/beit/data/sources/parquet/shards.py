"""Many parquet files as a collection, each of which is opened when the order of a run comes to it."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.key_folders import labels_of_files
from beit.data.sources.parquet.columns import image_column, no_pictures_in
from beit.data.sources.parquet.file import FOOTER, ParquetSource, file_line, require_datasets
from beit.data.sources.parquet.footer import ParquetFooter, joined_labels, read_footer
from beit.data.sources.progress import progress
from beit.data.sources.shard_file import (
    ShardFile,
    ShardState,
    folder_of,
    located,
    open_shard,
    state_of,
    unchanged,
)
from beit.data.sources.source import BrokenShard, ImageSource, spaced, still_there
from beit.errors import DataError, GoneError
from beit.hub import kept_copy
from beit.image import LazyPicture

_MANY = 8  # files to wait for at once that are worth a word
_AT_ONCE = 8  # files looked into: on a network file system most of the time is waiting
_OWN = ("_fetching", "_thread", "_table", "_damaged")  # of one process


class ParquetShards(ImageSource):
    """Shards of known length, of which a few are open at a time.

    Args:
        rows: Pictures in each.
        min_side: Pictures with a shorter side, in pixels, count as broken.
        columns: Names of the columns of pictures and of labels; empty: the usual ones.
    """

    def __init__(self, rows: NDArray[np.int64], min_side: int, columns: Sequence[str] = ()) -> None:
        self._min_side, self._columns = min_side, columns
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
        """Drop what has no meaning in another process: open files and locks."""
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

    def open(self, index: int) -> LazyPicture:
        """Return the picture, as yet undecoded."""
        shard, row = self._place(index)
        return self._table(shard).open(row)

    def fetch(self, now: Iterable[int], soon: Iterable[int]) -> None:
        """Wait until the shards of some pictures are open, and begin to open those of others.

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
        """Return the name of a shard for messages."""

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
            ParquetSource(path, self._min_side, self._columns)
        except DataError:
            return  # it is damaged, which opening its pictures will report

    def _open_table(self, shard: int) -> ParquetSource:
        if shard in self._damaged:  # not read again for every picture
            raise DataError(self._damaged[shard])
        path = self.shard_file(shard)
        try:
            table = ParquetSource(path, self._min_side, self._columns)
            table.bands = self.bands
            self.shard_file(shard)  # it may have gone or changed while it was read
            if len(table) != self._rows[shard]:
                raise DataError(f"{path} has {len(table)} rows; expected the {self._rows[shard]} that its footer says")
        except DataError as error:
            self.shard_file(shard)
            self._damaged[shard] = str(error)
            raise
        return table


class ParquetFolder(ParquetShards):
    """The rows of parquet files; a damaged one of them is named and left out.

    Their footers and the columns of labels are read at the beginning, and a first picture of each that is on a disk. Of
    one that lies elsewhere a copy is kept when it is needed.
    """

    def __init__(self, paths: Sequence[ShardFile], min_side: int = 8, columns: Sequence[str] = ()) -> None:
        place = folder_of(paths[0])
        require_datasets()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            looks = threads.map(partial(_look, columns=columns), paths)
            found = list(zip(paths, progress(looks, len(paths), "reading the footers of the shards"), strict=True))
        self.broken_shards = [BrokenShard(str(path), footer) for path, footer in found if isinstance(footer, str)]
        good = [footer for _, footer in found if not isinstance(footer, str)]
        if not good:
            raise DataError(f"{place} cannot be read as parquet: {self.broken_shards[0].reason}")
        self._paths, footers = [path for path, _, _ in good], [footer for _, footer, _ in good]
        self._states = [state for _, _, state in good]
        _check_columns(self._paths, footers, place, columns)
        rows = np.array([footer.rows for footer in footers], dtype=np.int64)
        if not rows.sum():
            raise DataError(f"{place} has no rows; expected pictures")
        if (found := joined_labels(footers, place, columns)) is not None:
            self.classes, self.labels, self.label_kind = found.classes, found.labels, found.kind
        else:
            self.classes, self.labels = labels_of_files([str(path) for path in self._paths], rows.tolist())
        super().__init__(rows, min_side, columns)

    def shard_name(self, shard: int) -> str:
        """Return the path."""
        return str(self._paths[shard])

    def shard_file(self, shard: int) -> Path:
        """Return the path, of a copy if the file lies elsewhere.

        Raises:
            GoneError: If the file is not as it was when its footer and labels were read.
        """
        path = self._paths[shard]
        if isinstance(path, Path):
            with still_there(path):
                unchanged(path, self._states[shard], path.stat())
            return path
        try:
            return kept_copy(path)
        except DataError as error:  # it was there when it was listed
            raise GoneError(str(error)) from None

    def contents(self) -> Iterator[str]:
        """Yield the name, the size and the end of every file: the end holds the statistics of its pages."""
        for path in self._paths:
            yield file_line(path)

    def sampled(self, most: int) -> list[str]:
        """Return the lines of some files."""
        return [file_line(self._paths[index]) for index in spaced(len(self._paths), most)]


def _look(path: ShardFile, columns: Sequence[str]) -> tuple[ShardFile, ParquetFooter, ShardState] | str:
    """Return a file that can be opened and its footer, or what is wrong with it."""
    try:
        file = located(path)
        state = state_of(file)
        with open_shard(file, FOOTER) as content:
            footer = read_footer(content, first_picture=isinstance(file, Path), wanted=columns)
        return footer if isinstance(footer, str) else (file, footer, state)
    except DataError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error).splitlines()[0]


def _check_columns(
    paths: Sequence[ShardFile], footers: Sequence[ParquetFooter], place: str, wanted: Sequence[str]
) -> None:
    """Refuse files without pictures, and files of which some have columns that others do not have.

    Raises:
        DataError: Naming the columns.
    """
    columns = footers[0].columns
    for path, footer in zip(paths, footers, strict=True):
        if sorted(footer.columns) != sorted(columns):
            raise DataError(
                f"{place} cannot be read as parquet: {path.name} has the columns {footer.columns}, {paths[0].name} has "
                f"{columns}; expected the same in all files"
            )
    if image_column(columns, wanted) is None:
        raise no_pictures_in(place, columns, wanted)


def _most_open() -> int:
    """Return the number of shards to keep open: each takes one or two of the files that a process may open."""
    return max(32, os.sysconf("SC_OPEN_MAX") // 3)
