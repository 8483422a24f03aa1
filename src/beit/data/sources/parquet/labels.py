"""Labels in a table: one class for every row, several, or a number.

Legend: P pictures, K classes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.label_text import listed_labels, separator_between
from beit.data.sources.parquet.columns import NUMBERS, label_columns
from beit.data.sources.source import LabelKind, Labels, check_name
from beit.errors import DataError, shortened
from beit.files import first_twice

_UNLABELLED = "do without labels by naming the column of pictures alone with data.columns"
_EXACT = 2**53  # up to which every whole number is a real one of 64 bits
_LISTS = ("List", "LargeList", "Sequence")  # features of `datasets`
_PLAIN = ("Value", "ClassLabel")
_REMEDY = ": write them as text, or name the column of pictures alone with data.columns"


@dataclass(frozen=True)
class TableLabels:
    """Labels of all rows.

    Attributes:
        classes: Names of the classes, or of the labels.
        labels: Class of every row (P,), or 0 and 1 or a number for each (P, K).
        kind: Which of these they are.
    """

    classes: list[str]
    labels: Labels
    kind: LabelKind = "class"


def table_labels(table: Any, columns: Sequence[str] = ()) -> TableLabels | None:
    """Return the labels of a table of `datasets`; None without a column of labels.

    Args:
        table: The table.
        columns: Names of the columns of pictures and of labels; empty: the usual ones.

    Raises:
        DataError: If a column has the name of one but holds something else, or nothing in some rows.
    """
    names = label_columns(table.column_names, columns)
    if not names:
        return None
    if len(names) > 1:
        return _switches(names, [_cells(table, name).to_numpy() for name in names])
    (column,) = names
    feature, cells = table.features[column], _cells(table, column)
    kind = type(feature).__name__
    if kind in _LISTS and type(feature.feature).__name__ in _PLAIN:
        return _lists(column, feature.feature, cells)
    if kind not in _PLAIN:
        raise DataError(f"the column {column!r} holds {feature}; expected classes or lists of labels{_REMEDY}")
    values: NDArray[Any] = cells.to_numpy()
    if column == NUMBERS and values.dtype.kind in "iuf":
        return _numbers(column, values)
    if (named := getattr(feature, "names", None)) is not None:  # a ClassLabel knows its names
        return TableLabels(*_named(column, values, list(named)))
    if values.dtype.kind == "O" and len(values) and isinstance(values[0], str):
        return _texts(column, values)
    classes, labels = _distinct(column, feature, values)
    return TableLabels(classes, labels)


def class_names(table: Any, columns: Sequence[str] = ()) -> list[str] | None:
    """Return the names of the classes in a table whose column of labels knows them, in their order; None of others.

    Args:
        table: The table.
        columns: See `table_labels`.
    """
    names = label_columns(table.column_names, columns)
    feature: Any = table.features[names[0]] if len(names) == 1 else None
    return getattr(getattr(feature, "feature", feature), "names", None)


def joined_by_name(parts: Sequence[TableLabels]) -> TableLabels:
    """Return the labels of several tables, of one kind, whose classes are known by their names.

    Classes are in the order in which the tables name them.
    """
    classes = list(dict.fromkeys(name for part in parts for name in part.classes))
    place = {name: number for number, name in enumerate(classes)}
    joined: list[Labels] = []
    for part in parts:
        own_K = np.array([place[name] for name in part.classes], np.int64)
        if part.kind == "class":
            joined.append(own_K[part.labels])
            continue
        hot_PK = np.zeros((len(part.labels), len(classes)), np.float32)
        hot_PK[:, own_K] = part.labels
        joined.append(hot_PK)
    return TableLabels(classes, np.concatenate(joined), parts[0].kind)


def _cells(table: Any, column: str) -> Any:
    """Return the cells of a column, of which none is empty.

    Raises:
        DataError: If some are.
    """
    cells: Any = table.with_format("arrow")[column][:]
    if cells.null_count:
        first = int(np.argmax(np.asarray(cells.is_null())))
        raise DataError(
            f"the column {column!r} is empty in {cells.null_count} of {len(cells)} rows (first: row {first}); expected "
            f"one class per row, none missing: fill these rows in, or {_UNLABELLED}"
        )
    return cells


def _texts(column: str, values: NDArray[Any]) -> TableLabels:
    """Return the classes that are written as text, or the labels where cells hold lists, or signs between names."""
    lists = [listed_labels(value) for value in values.tolist()]
    cells: list[Any] = [value if row is None else row for row, value in zip(lists, values.tolist(), strict=True)]
    several = any(row is not None for row in lists)
    plain = [cell for cell in cells if isinstance(cell, str)]
    separator = separator_between(f"the column {column!r}", plain, several)
    if not several and separator is None:
        return TableLabels(*_distinct(column, "text", values))
    rows = [cell if isinstance(cell, list) else cell.split(separator) if separator else [cell] for cell in cells]
    names = [[str(name).strip() for name in cast("list[Any]", row) if str(name).strip()] for row in rows]
    if separator is not None and os.environ.get("RANK", "0") == "0":
        print(f"the column {column!r} holds several labels, separated by {separator!r}", file=sys.stderr)  # noqa: T201
    classes = sorted({name for row in names for name in row})
    for name in classes:
        check_name(name)
    return _several(column, names, classes)


def _lists(column: str, feature: Any, cells: Any) -> TableLabels:
    """Return the labels of rows that hold lists: of names, numbers of classes, or 0 and 1 for every class."""
    import pyarrow.compute as pc

    untyped: Any = pc
    lengths: NDArray[Any] = untyped.list_value_length(cells).to_numpy()
    flat: Any = untyped.list_flatten(cells)
    if flat.null_count or not len(flat):
        raise DataError(
            f"the column {column!r} holds {'lists with empty places' if len(flat) else 'empty lists alone'}; expected "
            f"the labels of every row: fill them in, or {_UNLABELLED}"
        )
    values: NDArray[Any] = flat.to_numpy()
    named = getattr(feature, "names", None)
    if named is None and _are_switches(lengths, values):
        hot = values.reshape(len(lengths), -1).astype(np.float32)
        return _hot([str(number) for number in range(hot.shape[1])], hot)
    classes, labels = _named(column, values, list(named)) if named is not None else _distinct(column, feature, values)
    rows = np.split(labels, np.cumsum(lengths)[:-1])
    return _several(column, [[classes[label] for label in row] for row in rows], classes)


def _are_switches(lengths: NDArray[Any], values: NDArray[Any]) -> bool:
    """Return whether lists of one length, of two or more, hold 0 and 1 alone: one for every class."""
    alike = lengths[0] > 1 and bool((lengths == lengths[0]).all())
    return alike and values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all())


def _switches(names: Sequence[str], cells: Sequence[NDArray[Any]]) -> TableLabels:
    """Return the labels of rows with a column of 0 and 1 for each.

    Raises:
        DataError: If a cell is something else.
    """
    for name, column in zip(names, cells, strict=True):
        wrong = ~np.isin(column, (0, 1)) if column.dtype.kind in "biuf" else np.ones(len(column), bool)
        if wrong.any():
            row = int(np.argmax(wrong))
            held = shortened(column[row : row + 1].tolist()[0])
            raise DataError(
                f"the column {name!r} holds {held} in row {row}; expected 0 or 1, as several columns of labels hold "
                "one label each: name one alone for classes"
            )
    return _hot(list(names), np.stack(cells, axis=1).astype(np.float32))


def _hot(names: list[str], hot: NDArray[np.float32]) -> TableLabels:
    """Return labels of 0 and 1 (P, K): classes, if every row has a single 1."""
    if (hot.sum(axis=1) == 1).all():
        return TableLabels(names, hot.argmax(axis=1).astype(np.int64))
    return TableLabels(names, hot, "labels")


def _several(column: str, rows: Sequence[Sequence[str]], classes: list[str]) -> TableLabels:
    """Return several labels for every row.

    Raises:
        DataError: If a row has one twice.
    """
    place, hot = {name: number for number, name in enumerate(classes)}, np.zeros((len(rows), len(classes)), np.float32)
    for number, row in enumerate(rows):
        if (twice := first_twice(row)) is not None:
            raise DataError(
                f"the column {column!r} has the label {shortened(twice)} twice in row {number}; expected each once: "
                "correct the row"
            )
        hot[number, [place[name] for name in row]] = 1
    return TableLabels(classes, hot, "labels")


def _numbers(column: str, values: NDArray[Any]) -> TableLabels:
    """Return the numbers of a column.

    Raises:
        DataError: If one is not finite, or too large.
    """
    numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise DataError(
            f"the column {column!r} holds {values[row]} in row {row}; expected a number up to "
            f"{np.finfo(np.float32).max:.3g}: correct it, or {_UNLABELLED}"
        )
    return TableLabels([column], numbers[:, None], "value")


def _distinct(column: str, feature: object, values: NDArray[Any]) -> tuple[list[str], Labels]:
    """Return the classes that some values are, text, whole numbers or truth values, and the class of each.

    Raises:
        DataError: If they are something else.
    """
    if values.dtype.kind == "f":
        values = _whole(column, values)
    if values.dtype.kind not in "biuO" or (len(values) and isinstance(values[0], bytes)):
        raise DataError(f"the column {column!r} holds {feature}; expected one class per row, none missing{_REMEDY}")
    if values.dtype.kind == "O":
        texts = [str(value) for value in values]
        for name in set(texts):
            check_name(name)
        values = np.array(texts)
    distinct, labels = np.unique(values, return_inverse=True)
    names = [str(value) for value in distinct]
    return [name.lower() for name in names] if values.dtype.kind == "b" else names, labels.astype(np.int64)


def _named(column: str, values: NDArray[Any], names: list[str]) -> tuple[list[str], Labels]:
    """Return named classes and the class of every row, which is one of them.

    Raises:
        DataError: If it is another number, such as -1 for none, or a name cannot be that of a class.
    """
    for name in names:
        check_name(name)
    beyond = (values < 0) | (values >= len(names))
    if beyond.any():
        first = int(np.argmax(beyond))
        raise DataError(
            f"the column {column!r} holds {int(values[first])} in row {first}, and others than its {len(names)} named "
            f"classes, 0 to {len(names) - 1}, in {int(beyond.sum())} of {len(values)} rows; expected one of these "
            f"(-1 stands for none): leave these rows out, or {_UNLABELLED}"
        )
    return names, values.astype(np.int64)


def _whole(column: str, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return whole numbers that are written as real ones.

    Raises:
        DataError: If some are not, or too large to be exact.
    """
    broken = ~(np.abs(values) <= _EXACT) | (values != np.rint(values))  # NaN is neither
    if broken.any():
        raise DataError(
            f"the column {column!r} holds numbers such as {values[np.argmax(broken)]:g}; expected classes: "
            f"{_UNLABELLED}, or put the numbers into a file of labels (data.labels, column `value`)"
        )
    return values.astype(np.int64)
