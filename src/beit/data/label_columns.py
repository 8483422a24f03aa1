"""Columns of a file of labels: which holds the pictures, which the labels, and what kind of labels these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from beit.data.label_rows import IMAGE_NAMES, Row, plain_name
from beit.data.sources.source import LabelKind
from beit.data.sources.split_names import is_split_column, rows_of_splits
from beit.errors import DataError
from beit.image import EXTENSIONS

_KINDS: dict[str, LabelKind] = {"label": "class", "labels": "labels", "value": "value", "class": "class"}
_SIMPLE = ("label", "labels", "value")  # in messages
_SHOWN = 20  # columns in a message
_SWITCHES = {0: False, 1: True, -1: False}


@dataclass(frozen=True)
class LabelColumns:
    """Columns of a file.

    Attributes:
        image: That of the pictures.
        labels: That of the labels; several hold 0 or 1 for one label each.
        kind: Kind of labels that the name of the column says; None where its content has to.
    """

    image: str
    labels: Sequence[str]
    kind: LabelKind | None


def find_columns(file: str, rows: Sequence[Row], wanted: Sequence[str]) -> LabelColumns:
    """Return the columns of a file: those that are wanted, an image and one or more of labels, or the usual ones.

    Raises:
        DataError: If they are not there, or it is not clear which are meant.
    """
    if not rows:
        raise DataError(f"{file} has none of the columns {list(_SIMPLE)}, and no rows; expected a row for each picture")
    there = list(dict.fromkeys(name for row in rows for name in row.cells))
    if wanted:
        missing = [name for name in wanted if name not in there]
        if missing or len(wanted) < 2:
            absent = f"{missing} are not there" if missing else "a column of labels is missing"
            raise DataError(
                f"data.columns is {list(wanted)} and {absent}; expected a column of pictures, then one or more of "
                f"labels, of those of {file}: {there}"
            )
        return LabelColumns(
            wanted[0], tuple(wanted[1:]), _KINDS.get(plain_name(wanted[1])) if len(wanted) == 2 else None
        )
    known = {plain_name(name): name for name in there}
    images = [known[name] for name in IMAGE_NAMES if name in known]
    if not images:
        raise DataError(
            f"{file} has the columns {there[:_SHOWN]}{' and more' * (len(there) > _SHOWN)}, and none of "
            f"{list(IMAGE_NAMES)} for the pictures; {_remedy(rows, there)}"
        )
    labels = [known[name] for name in _KINDS if name in known]
    if not labels and (switches := _switches(rows, _unused(there, images[0]))):
        return LabelColumns(images[0], switches, None)
    if len(labels) != 1:
        raise DataError(
            f"{file} has {labels or 'none'} of the columns {list(_SIMPLE)}; expected one, and file_name; it has "
            f"{there}: name the right ones with data.columns, such as [image, label]"
        )
    return LabelColumns(images[0], (labels[0],), _KINDS[plain_name(labels[0])])


def _unused(columns: Sequence[str], image: str) -> list[str]:
    """Return the columns but for that of pictures, and those of 0 and 1 that divide the rows into splits."""
    return [name for name in columns if name != image and not is_split_column(name)]


def _remedy(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return what helps where no column is one of pictures."""
    if any(isinstance(cell, dict | list) for row in rows[:_SHOWN] for cell in row.cells.values()):
        return (
            "it holds objects inside of objects, as COCO, Label Studio and labelme write them: export it as CSV, with "
            "a row for each picture"
        )
    if any(word.lower().endswith(tuple(EXTENSIONS)) for column in columns for word in column.split()):
        return "its first line seems to name a picture: write the names of columns above it, such as file_name,label"
    return "rename it, or name the columns with data.columns, such as [image, label]"


def _switches(rows: Sequence[Row], columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that hold nothing but 0 and 1, or -1 and 1, if all of several do."""
    on = [all(switch(row.cells.get(name)) is not None for row in rows) for name in columns]
    return tuple(columns) if len(columns) > 1 and all(on) else ()


def split_column(rows: Sequence[Row], used: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the column that divides rows into splits, and the split of every row; None if no column does."""
    for name in dict.fromkeys(name for row in rows for name in row.cells):
        if name not in used and (splits := rows_of_splits(name, [row.cells.get(name, "") for row in rows])) is not None:
            return name, splits
    return None


def switch(value: Any) -> bool | None:
    """Return whether a cell for one label says yes; None if it says neither."""
    if isinstance(value, bool):
        return value
    try:
        return _SWITCHES.get(float(value))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return {"true": True, "false": False}.get(str(value).lower())
