"""Pictures in a parquet file, as image datasets are published on the hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from beit.data.parquet_columns import IMAGE_COLUMNS, classes_and_labels, first_column
from beit.data.parquet_tables import read_table
from beit.data.source import ImageSource
from beit.errors import DataError, missing_extra
from beit.image import StoredPicture, open_image

_FOOTER = 1 << 16  # bytes


class ParquetSource(ImageSource):
    """Rows of a parquet file with a column of image bytes, and possibly a column of labels.

    The file is memory-mapped through the `datasets` library, so that it may be larger than memory.
    """

    def __init__(self, path: Path, min_side: int = 8) -> None:
        try:
            import datasets
        except ImportError:
            raise missing_extra("datasets", "train") from None
        self._min_side = min_side
        self._path, table = path, read_table(path)
        self._image_column = first_column(table, IMAGE_COLUMNS)
        if self._image_column is None:
            raise DataError(
                f"{path} has the columns {table.column_names}; expected image bytes under one of {IMAGE_COLUMNS}"
            )
        if not len(table):
            raise DataError(f"{path} has no rows; expected pictures")
        if isinstance(table.features[self._image_column], datasets.Image):
            table = table.cast_column(self._image_column, datasets.Image(decode=False))
        self.classes, self.labels = classes_and_labels(table)
        self._table = table
        self.shard_sizes = np.array([len(table)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._table)

    def name(self, index: int) -> str:
        """Return the file and the row in it."""
        return f"{self._path}, row {index}"

    def open(self, index: int) -> StoredPicture:
        """Return the picture, as yet undecoded."""
        cell = self._table[index][self._image_column]
        content = cell["bytes"] if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise DataError(f"{self.name(index)} holds no image bytes")
        return open_image(content, self.name(index), self._min_side)

    def contents(self) -> Iterator[str]:
        """Yield the name, the size and the end of the file: the end holds the statistics of its pages."""
        yield file_line(self._path)


def file_line(path: Path) -> str:
    """Return the name, the size and a hash of the end of a file."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, _FOOTER), os.SEEK_END)
        return f"{path.name} {path.stat().st_size} {hashlib.sha256(file.read()).hexdigest()}"
