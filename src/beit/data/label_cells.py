"""Cells of a column of labels: a class, several labels, or a number, by all that the column holds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from beit.data.label_columns import LabelColumns, switch
from beit.data.label_rows import Row
from beit.data.sources.label_text import listed_labels, separator_between
from beit.data.sources.source import LabelKind
from beit.errors import DataError, shortened
from beit.files import first_twice

_LARGEST = float(np.finfo(np.float32).max)  # numbers are kept as float32
_WHOLE = re.compile(r"[+-]?\d+\.0+")
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_SIGNS = re.compile(r"[,/+#&]")  # what may stand between labels, and in their names
_EXPECTED = {
    "class": "the name of a class: fill it in, or remove the row",
    "labels": "names separated by ;, or a list",
    "value": f"a number up to {_LARGEST:.3g}",
}


def label_contents(
    file: str, rows: Sequence[Row], columns: LabelColumns, others: Sequence[Row] = ()
) -> tuple[LabelKind, list[Any], str]:
    """Return the kind of labels, those of every row (a name, a list of names or a number), and a remark or "".

    Args:
        file: The file, for messages.
        rows: The rows.
        columns: The columns of the file.
        others: Its rows of other splits, which are of the same kind: several labels in one of them are several in all.

    Raises:
        DataError: If a cell makes no sense.
    """
    if len(columns.labels) > 1:
        return _one_hot(file, rows, columns.labels, others)
    column, kind = columns.labels[0], columns.kind
    cells = [_plain(row.cells.get(column)) for row in rows]
    if kind == "value":
        return "value", [_number(file, row, column, cell) for row, cell in zip(rows, cells, strict=True)], ""
    of_others = [_plain(row.cells.get(column)) for row in others]
    several = kind == "labels" or any(isinstance(cell, list) for cell in cells) or any(map(_is_several, of_others))
    texts = [cell for cell in (*cells, *of_others) if isinstance(cell, str)]
    separator = separator_between(f"the column {column!r} of {file}", texts, several)
    if not several and separator is None:
        classes = [_name(file, row, column, cell) for row, cell in zip(rows, cells, strict=True)]
        _refuse_real(file, column, classes)
        return "class", classes, ""
    remark = f"the column {column!r} holds several labels, separated by {separator!r}" if separator else ""
    lists = [_names(file, row, column, cell, separator) for row, cell in zip(rows, cells, strict=True)]
    if separator is None and (whole := _whole_of_labels(texts)) is not None:
        remark = f"the column {column!r} has no ; between labels, and {shortened(whole)} is taken as one label"
    return "labels", lists, "" if kind == "labels" and separator == ";" else remark


def _is_several(cell: Any) -> bool:
    return isinstance(cell, list) and len(cast("list[Any]", cell)) > 1


def _whole_of_labels(texts: Sequence[str]) -> str | None:
    """Return the first text that may hold several labels; None without one.

    Ordinary names hold spaces, so of these a word has to be the label of another row.
    """
    labels = set(texts)
    return next((text for text in texts if _SIGNS.search(text) or labels.intersection(text.split()) - {text}), None)


def _plain(cell: Any) -> Any:
    """Return a cell with the numbers of classes as text: 3, 3.0 and "3.0" are one class."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float):
        return str(int(cell)) if math.isfinite(cell) and cell == int(cell) else str(cell)
    if isinstance(cell, str):
        if (names := listed_labels(cell)) is not None:
            return [_plain(name) for name in names]
        return cell.partition(".")[0] if _WHOLE.fullmatch(cell) else cell
    return [_plain(one) for one in cast("list[Any]", cell)] if isinstance(cell, list) else cell


def _refuse_real(file: str, column: str, classes: Sequence[str]) -> None:
    """Refuse classes that are all numbers, some with a fraction, as measurements are.

    Raises:
        DataError: If they are.
    """
    names = set(classes)
    fractions = sorted(name for name in names if not name.lstrip("+-").isdecimal())
    if fractions and all(_REAL.fullmatch(name) for name in names):
        raise DataError(
            f"the column {column!r} of {file} holds numbers such as {fractions[0]}; expected names of classes: call "
            "the column value to learn numbers, or write names such as '0.5 mg'"
        )


def _names(file: str, row: Row, column: str, cell: Any, separator: str | None) -> list[str]:
    if cell is None:
        raise _wrong(file, row, column, "labels")
    if isinstance(cell, str):
        names = [name.strip() for name in (cell.split(separator) if separator else [cell]) if name.strip()]
    elif isinstance(cell, list) and all(isinstance(name, str) for name in cast("list[Any]", cell)):
        names = cast("list[str]", cell)
    else:
        raise _wrong(file, row, column, "labels")
    if (twice := first_twice(names)) is not None:
        raise DataError(
            f"{file}, line {row.line} has the label {shortened(twice)} twice; expected each once, by name: 0 and 1 for "
            "every label belong into columns of their own"
        )
    return names


def _name(file: str, row: Row, column: str, cell: Any) -> str:
    if isinstance(cell, str) and cell:
        if isinstance(row.cells.get(column), float) and "." in cell:
            raise DataError(
                f"{file}, line {row.line} has {column} {cell}, a number; expected the name of a class: call the column "
                "value to learn numbers"
            )
        return cell
    raise _wrong(file, row, column, "class")


def _number(file: str, row: Row, column: str, cell: Any) -> float:
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:  # which NaN is not either
        raise _wrong(file, row, column, "value")
    return number


def _wrong(file: str, row: Row, column: str, kind: str) -> DataError:
    value = row.cells.get(column)
    return DataError(f"{file}, line {row.line} has {column} {shortened(value)}; expected {_EXPECTED[kind]}")


def _one_hot(
    file: str, rows: Sequence[Row], columns: Sequence[str], others: Sequence[Row]
) -> tuple[LabelKind, list[Any], str]:
    """Return the labels of rows with a column of 0 or 1 for each: classes, if every row has a single 1.

    Other rows of the file count where they have several: those of a test may have no 1 for want of an answer.
    """
    _refuse_unsure(file, rows, columns)
    found: list[list[str]] = []
    for row in rows:
        answers = {name: switch(row.cells.get(name)) for name in columns}
        if (strange := next((name for name, answer in answers.items() if answer is None), None)) is not None:
            raise DataError(
                f"{file}, line {row.line} has {strange} {row.cells.get(strange)!r}; expected 0 or 1 in the "
                "column of a label: fill it in, or remove the row"
            )
        found.append([name for name, answer in answers.items() if answer])
    several = any(sum(switch(row.cells.get(name)) is True for name in columns) > 1 for row in others)
    single = not several and all(len(names) == 1 for names in found)
    remark = f"{len(columns)} columns of 0 and 1 are {'classes' if single else 'labels'}: {', '.join(columns[:5])}"
    if unused := [name for name in columns if not any(name in names for names in found)]:
        remark += f"; {', '.join(unused[:5])}{', ...' * (len(unused) > 5)} left out, because no picture has it"
    return ("class", [names[0] for names in found], remark) if single else ("labels", found, remark)


def _refuse_unsure(file: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Refuse columns of -1, 0 and 1: alone -1 or 0 says no, and beside each other one of them says that it is unknown.

    Raises:
        DataError: Naming the first -1.
    """
    kinds = {str(row.cells.get(name)).removesuffix(".0") for row in rows for name in columns}
    if not {"-1", "0"} <= kinds:
        return
    row, name = next(
        (row, name) for row in rows for name in columns if str(row.cells.get(name)).removesuffix(".0") == "-1"
    )
    raise DataError(
        f"{file}, line {row.line} has {name} -1, and others have 0; expected 0 or 1 in the column of a label, as -1 "
        "beside 0 may say that it is not known: write 0 or 1, or remove the row"
    )
