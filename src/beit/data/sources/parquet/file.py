"""Parquet file of pictures as a collection, in the form in which the hub publishes image data sets."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from beit.data.sources.parquet.columns import cell_bytes, image_column, no_pictures_in
from beit.data.sources.parquet.labels import table_labels
from beit.data.sources.shard_file import ShardFile, ShardState, open_shard, state_of, unchanged
from beit.data.sources.source import ImageSource
from beit.errors import DataError, StorageError, missing_extra
from beit.files import open_regular
from beit.hub import DISK_FULL
from beit.image import LazyPicture, open_image

FOOTER = 1 << 16  # bytes


class TableSource(ImageSource):
    """Rows of a table of `datasets` with a column of image bytes, and possibly a column of labels.

    It is memory-mapped, so that it may be larger than memory.

    Args:
        place: File or folder of the table, for messages.
        table: The table.
        min_side: Pictures with a shorter side, in pixels, count as broken.
        columns: Names of the columns of pictures and of labels; empty: the usual ones.

    Attributes:
        columns: Names of all columns that are there.

    Raises:
        DataError: If it has no rows or no pictures.
    """

    def __init__(self, place: Path, table: Any, min_side: int = 8, columns: Sequence[str] = ()) -> None:
        import datasets

        self._min_side = min_side
        self._path = place
        self.columns: list[str] = table.column_names
        self._image_column = image_column(table.column_names, columns)
        if self._image_column is None:
            raise no_pictures_in(place, table.column_names, columns)
        if not len(table):
            raise DataError(f"{place} has no rows; expected pictures")
        if isinstance(table.features[self._image_column], datasets.Image):
            table = table.cast_column(self._image_column, datasets.Image(decode=False))
        if (found := table_labels(table, columns)) is not None:
            self.classes, self.labels, self.label_kind = found.classes, found.labels, found.kind
        self._table, self._mapped = table, MappedFiles(table)
        self.shard_sizes = np.array([len(table)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._table)

    def name(self, index: int) -> str:
        """Return the file and the row in it."""
        return f"{self._path}, row {index}"

    def open(self, index: int) -> LazyPicture:
        """Return the picture, as yet undecoded."""
        self._mapped.check(index)
        content = cell_bytes(self._table[index][self._image_column], self.name(index))
        return open_image(content, self.name(index), self._min_side, self.bands)


class MappedFiles:
    """Files that the rows of a table are mapped from: one that is cut off would end the process by a signal.

    Args:
        table: The table.
    """

    def __init__(self, table: Any) -> None:
        blocks = [row[0] for row in getattr(table.data, "blocks", [[table.data]])]
        self._ends = None if table._indices is not None else np.cumsum([block.num_rows for block in blocks])
        self._files = [_mapped(getattr(block, "path", None)) for block in blocks]

    def check(self, row: int) -> None:
        """Refuse a row whose file was written since it was opened; one that was removed or replaced is mapped still.

        Raises:
            GoneError: Naming the file.
        """
        number = None if self._ends is None else int(np.searchsorted(self._ends, row, side="right"))
        for file in self._files if number is None else self._files[number : number + 1]:
            if file is None:
                continue
            path, before, state = file
            with suppress(FileNotFoundError, NotADirectoryError):
                if (now := path.stat()).st_ino == before:
                    unchanged(path, state, now)


def _mapped(path: str | None) -> tuple[Path, int, ShardState] | None:
    """Return a file with its number on its disk and its state; None of a part that is in memory."""
    return None if path is None else (Path(path), Path(path).stat().st_ino, state_of(Path(path)))


class ParquetSource(TableSource):
    """Rows of a parquet file."""

    def __init__(self, path: Path, min_side: int = 8, columns: Sequence[str] = ()) -> None:
        require_datasets()
        super().__init__(path, _read_table(path), min_side, columns)

    def contents(self) -> Iterator[str]:
        """Yield the name, the size and the end of the file: the end holds the statistics of its pages."""
        yield file_line(self._path)


def require_datasets() -> None:
    """Refuse to go on without the library `datasets`.

    Raises:
        MissingExtraError: If it is not installed.
    """
    if find_spec("datasets") is None:
        raise missing_extra("datasets", "train")


def file_line(path: ShardFile) -> str:
    """Return the name, the size and a hash of the end of a file, or that it has gone since it was listed."""
    try:
        with open_shard(path, FOOTER) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size - min(size, FOOTER))
            return f"{path.name} {size} {hashlib.sha256(file.read(FOOTER)).hexdigest()}"
    except FileNotFoundError:
        return f"{path.name} missing"


def _read_table(path: Path) -> Any:
    """Return the rows of a file, which `datasets` keeps in a form of its own that it maps into memory.

    Raises:
        DataError: If it is not readable.
        StorageError: If the disk is full.
    """
    import datasets

    if (reason := _unreadable_footer(path)) is not None:
        raise DataError(f"{path} cannot be read as parquet: {reason}")
    datasets.disable_progress_bars()
    try:
        with _quiet_datasets():
            return datasets.Dataset.from_parquet(str(path))
    except FileNotFoundError:
        raise DataError(f"{path} cannot be read as parquet: it has gone since it was opened") from None
    except OSError as error:  # of the disk: not the fault of the file
        if error.errno is None and "disk space" in str(error):  # datasets has looked before it writes
            raise _no_room(path, os.strerror(errno.ENOSPC)) from error
        raise
    except Exception as error:  # datasets wraps whatever pyarrow raises
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            raise _no_room(path, cause.strerror or str(cause)) from error
        raise DataError(f"{path} cannot be read as parquet: {str(cause).splitlines()[0]}") from None


def _no_room(path: Path, reason: str) -> StorageError:
    return StorageError(
        f"cannot keep the rows of {path}: {reason}; free space or choose another folder with HF_DATASETS_CACHE"
    )


def _unreadable_footer(path: Path) -> str | None:
    import pyarrow.parquet as pq

    untyped: Any = pq
    try:
        with open_regular(path) as file:
            rows = untyped.read_metadata(file).num_rows
    except OSError as error:
        return error.strerror or str(error).splitlines()[0]
    except Exception as error:  # a damaged file makes pyarrow raise nearly anything
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None if rows else "it has no rows; expected pictures"


@contextmanager
def _quiet_datasets() -> Generator[None]:
    """Keep `datasets` from logging what an error says already."""
    from datasets.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
