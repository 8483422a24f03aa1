"""Pictures in parquet files, as image datasets are published on the hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from beit.data.parquet_columns import IMAGE_COLUMNS, classes_and_labels, first_column
from beit.data.parquet_tables import read_tables, row_count
from beit.data.source import ImageSource
from beit.errors import DataError, missing_extra
from beit.image import StoredPicture, open_image

_FOOTER = 1 << 16  # bytes


class ParquetSource(ImageSource):
    """Rows of parquet files with a column of image bytes, and possibly a column of labels.

    The files are memory-mapped through the `datasets` library, so that they may be larger than memory.
    """

    def __init__(self, paths: Sequence[Path], min_side: int = 8) -> None:
        try:
            import datasets
        except ImportError:
            raise missing_extra("datasets", "train") from None
        place = str(paths[0]) if len(paths) == 1 else str(paths[0].parent)
        self._min_side = min_side
        self._paths, table, self.broken_shards = read_tables(paths, place)
        self._image_column = first_column(table, IMAGE_COLUMNS)
        if self._image_column is None:
            raise DataError(
                f"{place} has the columns {table.column_names}; expected image bytes under one of {IMAGE_COLUMNS}"
            )
        if not len(table):
            raise DataError(f"{place} has no rows; expected pictures")
        if isinstance(table.features[self._image_column], datasets.Image):
            table = table.cast_column(self._image_column, datasets.Image(decode=False))
        self.classes, self.labels = classes_and_labels(table)
        self._table = table
        self._sizes = self.shard_sizes = np.array([row_count(path) for path in self._paths], dtype=np.int64)
        self._ends = np.cumsum(self._sizes)

    def __len__(self) -> int:
        return len(self._table)

    def name(self, index: int) -> str:
        """Return the file and the row in it."""
        shard = int(np.searchsorted(self._ends, index, side="right"))
        return f"{self._paths[shard]}, row {index - int(self._ends[shard] - self._sizes[shard])}"

    def open(self, index: int) -> StoredPicture:
        """Return the picture, as yet undecoded."""
        cell = self._table[index][self._image_column]
        content = cell["bytes"] if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise DataError(f"{self.name(index)} holds no image bytes")
        return open_image(content, self.name(index), self._min_side)

    def contents(self) -> Iterator[str]:
        """Yield the name, the size and the end of every file: the end holds the statistics of its pages."""
        for path in self._paths:
            with path.open("rb") as file:
                file.seek(-min(path.stat().st_size, _FOOTER), os.SEEK_END)
                yield f"{path.name} {path.stat().st_size} {hashlib.sha256(file.read()).hexdigest()}"
