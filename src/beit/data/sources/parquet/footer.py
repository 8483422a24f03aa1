"""Number of rows and labels of parquet files, read without their pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from beit.data.sources.parquet.columns import image_column, label_columns, say_other_labels
from beit.data.sources.parquet.labels import TableLabels, class_names, joined_by_name, table_labels
from beit.data.sources.parquet.split_column import dividing_cells
from beit.errors import DataError

# What pyarrow raises for damaged files (its own errors are among these), and no connection does.
_OF_DAMAGE = (ValueError, TypeError, LookupError, ArithmeticError, NotImplementedError, MemoryError)

_NAMES = b"huggingface"  # the part of a file's metadata in which `datasets` writes the names of classes


@dataclass(frozen=True)
class ParquetFooter:
    """Footer of a file: what is known before its pictures are read.

    Attributes:
        columns: Their names.
        rows: Their number.
        labels: The table of its labels, None if it has none.
        dividing: The cells of columns that may divide its rows into splits, if they were asked for.
    """

    columns: list[str]
    rows: int
    labels: Any
    dividing: dict[str, list[Any]] = field(default_factory=dict[str, "list[Any]"])


def read_footer(
    content: Any, first_picture: bool = False, wanted: Sequence[str] = (), dividing: bool = False
) -> ParquetFooter | str:
    """Return the footer and the labels of a file, or what is wrong with it.

    Args:
        content: The open file.
        first_picture: Also read a first picture, which finds some of the files that are damaged before their end.
        wanted: Names of the columns of pictures and of labels; empty: the usual ones.
        dividing: Also read the columns that may divide the rows into splits.
    """
    import pyarrow.parquet as pq

    try:
        parquet: Any = pq.ParquetFile(content)
        if (rows := int(parquet.metadata.num_rows)) > content.seek(0, os.SEEK_END):
            return f"it names {rows} rows in {content.tell()} bytes; expected a byte or more for each picture"
        columns: list[str] = parquet.schema_arrow.names
        held = label_columns(columns, wanted)
        labels = parquet.read(columns=held) if held else None
        image = image_column(columns, wanted)
        if first_picture and image is not None:
            next(parquet.iter_batches(batch_size=1, columns=[image], use_threads=False), None)
        return ParquetFooter(columns, rows, labels, dividing_cells(parquet) if dividing else {})
    except _OF_DAMAGE as error:
        return next(iter(str(error).splitlines()), type(error).__name__)


def joined_labels(footers: Sequence[ParquetFooter], place: str, wanted: Sequence[str] = ()) -> TableLabels | None:
    """Return the labels of all files, None if some have none.

    Raises:
        DataError: If they are not of one kind, or something else than classes.
    """
    import datasets
    import pyarrow as pa

    if any(footer.labels is None for footer in footers):
        return None
    untyped: Any = pa
    say_other_labels(place, footers[0].columns, wanted)
    tables, names = [footer.labels for footer in footers], _class_names(footers, wanted)
    if None in names and any(names):
        tables = _named_by_others(tables, names, place)
    elif (parts := _apart(tables, names, wanted)) is not None:
        return joined_by_name(parts)
    try:
        return table_labels(datasets.Dataset(untyped.concat_tables(tables)), wanted)
    except untyped.ArrowInvalid as error:
        said = " ".join(str(error).split())  # of several lines
        raise DataError(f"the labels of {place} differ in kind between its files: {said}") from None


def _class_names(footers: Sequence[ParquetFooter], wanted: Sequence[str]) -> list[list[str] | None]:
    """Return the names of the classes that every file knows, None of one that names none."""
    import datasets

    metadata = {(footer.labels.schema.metadata or {}).get(_NAMES) for footer in footers}
    if len(metadata) == 1:  # as those of most collections, of which one is as good as all
        return [class_names(datasets.Dataset(footers[0].labels), wanted)] * len(footers)
    return [class_names(datasets.Dataset(footer.labels), wanted) for footer in footers]


def _named_by_others(tables: Sequence[Any], names: Sequence[list[str] | None], place: str) -> list[Any]:
    """Return the labels of files of which some name their classes and others hold plain numbers: of the same classes.

    Raises:
        DataError: If those with names differ, so that a plain number may be of any.
    """
    known = [number for number, one in enumerate(names) if one is not None]
    if any(names[number] != names[known[0]] for number in known):
        raise DataError(
            f"of the {len(tables)} files of {place} {len(known)} name their classes, in different orders, and file "
            f"{names.index(None) + 1} holds numbers without names, which may be of any; expected names in all of them "
            "or in none: write that one with `datasets` and its names"
        )
    schema = tables[known[0]].schema
    return [table.replace_schema_metadata(schema.metadata) for table in tables]


def _apart(tables: Sequence[Any], names: Sequence[list[str] | None], wanted: Sequence[str]) -> list[TableLabels] | None:
    """Return the labels of every file, where all name their classes and not all alike; None of others.

    A number is then that of a class of its own file alone.
    """
    import datasets

    if all(one == names[0] for one in names):
        return None
    found = [table_labels(datasets.Dataset(table), wanted) for table in tables]
    parts = [part for part in found if part is not None]
    return parts if len({part.kind for part in parts}) == 1 else None
