"""Pictures in several parquet files on a disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from beit.data.parquet import file_line
from beit.data.parquet_columns import IMAGE_COLUMNS
from beit.data.parquet_ends import ParquetEnd, joined_labels, read_end
from beit.data.parquet_shards import ParquetShards
from beit.data.progress import shown
from beit.data.source import BrokenShard
from beit.errors import DataError, missing_extra

_AT_ONCE = 8  # files looked into: on a network file system most of the time is waiting


class ParquetFolder(ParquetShards):
    """The rows of parquet files; a damaged one of them is named and left out.

    Their ends and the columns of labels are read at the beginning, and a first picture of each.
    """

    def __init__(self, paths: Sequence[Path], min_side: int = 8) -> None:
        place = str(paths[0].parent)
        if find_spec("datasets") is None:
            raise missing_extra("datasets", "train")
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            looks = threads.map(_look, paths)
            found = list(zip(paths, shown(looks, len(paths), "reading the ends of the shards"), strict=True))
        self.broken_shards = [BrokenShard(str(path), end) for path, end in found if isinstance(end, str)]
        good = [(path, end) for path, end in found if isinstance(end, ParquetEnd)]
        if not good:
            raise DataError(f"{place} cannot be read as parquet: {self.broken_shards[0].reason}")
        self._paths = [path for path, _ in good]
        ends = [end for _, end in good]
        _check_columns(self._paths, ends, place)
        rows = np.array([end.rows for end in ends], dtype=np.int64)
        if not rows.sum():
            raise DataError(f"{place} has no rows; expected pictures")
        self.classes, self.labels = joined_labels(ends, place)
        super().__init__(rows, min_side)

    def shard_name(self, shard: int) -> str:
        """Return the path."""
        return str(self._paths[shard])

    def shard_file(self, shard: int) -> Path:
        """Return the path."""
        return self._paths[shard]

    def contents(self) -> Iterator[str]:
        """Yield the name, the size and the end of every file: the end holds the statistics of its pages."""
        for path in self._paths:
            yield file_line(path)


def _look(path: Path) -> ParquetEnd | str:
    try:
        with path.open("rb") as content:
            return read_end(content, first_picture=True)
    except OSError as error:
        return error.strerror or str(error).splitlines()[0]


def _check_columns(paths: Sequence[Path], ends: Sequence[ParquetEnd], place: str) -> None:
    """Refuse files without pictures, and files of which some have columns that others do not have.

    Raises:
        DataError: Naming the columns.
    """
    columns = ends[0].columns
    for path, end in zip(paths, ends, strict=True):
        if sorted(end.columns) != sorted(columns):
            raise DataError(
                f"{place} cannot be read as parquet: {path.name} has the columns {end.columns}, {paths[0].name} has "
                f"{columns}; expected the same in all files"
            )
    if not set(columns) & set(IMAGE_COLUMNS):
        raise DataError(f"{place} has the columns {columns}; expected image bytes under one of {IMAGE_COLUMNS}")
