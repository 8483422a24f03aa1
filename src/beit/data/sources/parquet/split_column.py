"""Column that divides the rows of parquet files into splits: `split` with train and test, or `is_valid`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.parquet.file import FOOTER
from beit.data.sources.shard_file import ShardFile, located, open_shard
from beit.data.sources.split_names import is_split_column, rows_of_splits
from beit.errors import DataError


@dataclass(frozen=True)
class DividedRows:
    """Splits of rows.

    Attributes:
        column: The column that says which.
        splits: Names, in the order in which rows have them.
        by_file: The split of every row, for each file by its name; files that cannot be read are left out.
    """

    column: str
    splits: list[str]
    by_file: dict[str, list[str]]

    def rows(self, split: str, without: Collection[str], count: int) -> NDArray[np.int64]:
        """Return the rows of a split among those of all files but some, by their names, which are so many.

        Raises:
            DataError: If they are others.
        """
        kept = list(chain.from_iterable(rows for name, rows in self.by_file.items() if name not in without))
        if len(kept) != count:
            raise DataError(
                f"the column {self.column!r} has {len(kept)} rows, and there are {count} pictures; expected one for "
                "each: fetch damaged files again, or set data.split to all"
            )
        return np.flatnonzero(np.array([row == split for row in kept], bool))


def divided_rows(files: Sequence[ShardFile]) -> DividedRows | None:
    """Return the splits of the rows of files; None if no column says which."""
    columns: dict[str, Any] = {}
    for file in files:
        if (found := _read(file)) is None:
            continue
        if not found:  # all files have the same columns
            return None
        columns[str(file)] = found
    return rows_of_cells(columns)


def rows_of_cells(columns: Mapping[str, Mapping[str, list[Any]]]) -> DividedRows | None:
    """Return the splits of rows by the cells of columns that may divide them, for each file by its name."""
    for column in next(iter(columns.values()), {}):
        cells = {name: found.get(column, []) for name, found in columns.items()}
        splits = rows_of_splits(column, list(chain.from_iterable(cells.values())))
        if splits is not None:
            rest = iter(splits)
            by_file = {name: [next(rest) for _ in of_file] for name, of_file in cells.items()}
            return DividedRows(column, list(dict.fromkeys(splits)), by_file)
    return None


def _read(file: ShardFile) -> dict[str, list[Any]] | None:
    """Return the cells of the columns that may divide rows; None of a file that cannot be read, which others name."""
    import pyarrow.parquet as pq

    untyped: Any = pq
    try:
        with open_shard(located(file), FOOTER) as content:
            return dividing_cells(untyped.ParquetFile(content))
    except Exception:  # a damaged file makes pyarrow raise nearly anything
        return None


def dividing_cells(parquet: Any) -> dict[str, list[Any]]:
    """Return the cells of the columns of an open file that may divide its rows."""
    names = [name for name in parquet.schema_arrow.names if is_split_column(name)]
    return {name: parquet.read(columns=[name])[name].to_pylist() for name in names}
