"""Cells of a column of labels: a class, several labels, or a number, by all that the column holds."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from beit.data.label_columns import LabelColumns, switch
from beit.data.label_rows import Row
from beit.data.sources.source import LabelKind
from beit.errors import DataError, shortened
from beit.files import first_twice

_STRONG = (";", "|")  # hardly part of a name
_LARGEST = float(np.finfo(np.float32).max)  # numbers are kept as float32
_WHOLE = re.compile(r"[+-]?\d+\.0+")
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_BARE = re.compile(r"(['\"])\s+(?=['\"])")  # between the names of an array of numpy
_MOST_LISTED = 10_000  # characters of a list in a cell
_EXPECTED = {
    "class": "the name of a class",
    "labels": "names separated by ;, or a list",
    "value": f"a number up to {_LARGEST:.3g}",
}


def label_contents(file: str, rows: Sequence[Row], columns: LabelColumns) -> tuple[LabelKind, list[Any], str]:
    """Return the kind of labels, those of every row (a name, a list of names or a number), and a remark or "".

    Raises:
        DataError: If a cell makes no sense.
    """
    if len(columns.labels) > 1:
        return _one_hot(file, rows, columns.labels)
    column, kind = columns.labels[0], columns.kind
    cells = [_plain(row.cells.get(column)) for row in rows]
    if kind == "value":
        return "value", [_number(file, row, column, cell) for row, cell in zip(rows, cells, strict=True)], ""
    several = kind == "labels" or any(isinstance(cell, list) for cell in cells)
    separator = _separator(file, column, [cell for cell in cells if isinstance(cell, str)], several)
    if not several and separator is None:
        classes = [_name(file, row, column, cell) for row, cell in zip(rows, cells, strict=True)]
        _refuse_real(file, column, classes)
        return "class", classes, ""
    remark = f"the column {column!r} holds several labels, separated by {separator!r}" if separator else ""
    lists = [_names(file, row, column, cell, separator) for row, cell in zip(rows, cells, strict=True)]
    return "labels", lists, "" if kind == "labels" and separator == ";" else remark


def _plain(cell: Any) -> Any:
    """Return a cell with the numbers of classes as text: 3, 3.0 and "3.0" are one class."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float):
        return str(int(cell)) if math.isfinite(cell) and cell == int(cell) else str(cell)
    if isinstance(cell, str):
        if cell[:1] + cell[-1:] == "[]" and (names := _listed(cell)) is not None:
            return names
        return cell.partition(".")[0] if _WHOLE.fullmatch(cell) else cell
    return [_plain(one) for one in cast("list[Any]", cell)] if isinstance(cell, list) else cell


def _listed(cell: str) -> list[Any] | None:
    """Return the names in a cell that holds a list, as Python, numpy and JSON write it; None of other text."""
    if len(cell) > _MOST_LISTED:
        return None
    try:
        found: Any = ast.literal_eval(_BARE.sub(r"\1, ", cell))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    names = cast("list[Any]", found) if isinstance(found, list) else []
    plain = all(isinstance(name, str | int | float) for name in names)
    return [_plain(name) for name in names] if plain else None


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


def _separator(file: str, column: str, cells: Sequence[str], several: bool) -> str | None:
    """Return what stands between labels, None if every cell is one.

    Names may hold commas and spaces, as "tench, Tinca tinca" does: these divide labels where their parts stand alone
    elsewhere, or fewer parts than cells make up all of them.

    Raises:
        DataError: If it is not clear.
    """
    distinct = set(filter(None, cells))
    strong = [sign for sign in _STRONG if any(sign in cell for cell in distinct)]
    tight = any(re.search(r",\S", cell) for cell in distinct)
    if len(strong) > 1 or (strong and tight):
        raise DataError(
            f"the column {column!r} of {file} has {' and '.join([*strong, *([','] if tight else [])])} in its cells; "
            "expected one of them between labels"
        )
    if strong:
        return strong[0]
    if any("," in cell for cell in distinct) and (tight or _made_of_parts(distinct, ",", several)):
        return ","
    return " " if any(" " in cell for cell in distinct) and _made_of_parts(distinct, " ", several) else None


def _made_of_parts(distinct: set[str], sign: str, several: bool) -> bool:
    joined = [cell for cell in distinct if sign in cell]
    counts = Counter(part.strip() for cell in distinct for part in set(cell.split(sign)) if part.strip())
    parts = {part.strip() for cell in joined for part in cell.split(sign) if part.strip()}
    return parts <= distinct or (several and len(counts) < len(distinct))


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


def _one_hot(file: str, rows: Sequence[Row], columns: Sequence[str]) -> tuple[LabelKind, list[Any], str]:
    """Return the labels of rows with a column of 0 or 1 for each: classes, if every row has a single 1."""
    found: list[list[str]] = []
    for row in rows:
        answers = {name: switch(row.cells.get(name)) for name in columns}
        if (strange := next((name for name, answer in answers.items() if answer is None), None)) is not None:
            raise DataError(
                f"{file}, line {row.line} has {strange} {row.cells.get(strange)!r}; expected 0 or 1 in the "
                "column of a label"
            )
        found.append([name for name, answer in answers.items() if answer])
    single = all(len(names) == 1 for names in found)
    remark = f"{len(columns)} columns of 0 and 1 are {'classes' if single else 'labels'}: {', '.join(columns[:5])}"
    if unused := [name for name in columns if not any(name in names for names in found)]:
        remark += f"; {', '.join(unused[:5])}{', ...' * (len(unused) > 5)} left out, because no picture has it"
    return ("class", [names[0] for names in found], remark) if single else ("labels", found, remark)
