"""Columns of parquet files: which holds the pictures, and which the labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, cast

from beit.errors import DataError, shortened

NUMBERS = "value"  # column of numbers to learn, rather than classes
IMAGE_COLUMNS = ("image", "img", "picture", "jpg", "png")
_EMBED = "write them into the column, or name a folder of pictures with a file of labels (data.labels)"
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", NUMBERS)


def image_column(there: Sequence[str], columns: Sequence[str]) -> str | None:
    """Return the column of pictures: the one that is wanted, or the first of the usual ones; None if there is none."""
    return next((name for name in columns[:1] or IMAGE_COLUMNS if name in there), None)


def label_columns(there: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the columns of labels: those that are wanted, or the first of the usual ones; none if there is none.

    A wanted column of pictures alone means that none of labels is. Several hold 0 or 1 for one label each.

    Raises:
        DataError: If one that is wanted is not there.
    """
    if missing := [name for name in columns[1:] if name not in there]:
        raise DataError(f"data.columns names {missing[0]!r} for the labels; expected some of the columns {list(there)}")
    return list(columns[1:]) if columns else [name for name in LABEL_COLUMNS if name in there][:1]


def say_other_labels(place: object, there: Sequence[str], columns: Sequence[str]) -> None:
    """Say, where nobody has chosen, that other columns than the one that is taken may be the labels."""
    taken = label_columns(there, columns)
    others = [name for name in there if name in LABEL_COLUMNS or name.lower().endswith(("_label", "_labels", "_class"))]
    others = [name for name in others if name not in taken]
    if taken and others and not columns and os.environ.get("RANK", "0") == "0":
        line = f"{place}: the column {taken[0]!r} is taken for the labels, and not {', '.join(map(repr, others))}"
        print(f"{line}; data.columns chooses another", file=sys.stderr)  # noqa: T201


def cell_bytes(cell: Any, name: str) -> bytes:
    """Return the bytes of an image file in a cell: plain, as numbers, in a struct, or any of these as a list of one.

    Raises:
        DataError: If it holds none, or several.
    """
    if isinstance(cell, dict):
        held = cast("dict[str, Any]", cell)
        found, path = held.get("bytes"), held.get("path")
        if found is None and path is not None:
            raise DataError(f"{name} holds the path {path!r} alone; expected the bytes of an image file: {_EMBED}")
        return cell_bytes(found, name)
    if isinstance(cell, list):
        items = cast("list[Any]", cell)
        if items and all(type(item) is int and 0 <= item < 256 for item in items):
            return bytes(items)
        if len(items) == 1:
            return cell_bytes(items[0], name)
        raise DataError(
            f"{name} holds a list of {len(items)}; expected the bytes of one image file: write a row for each picture, "
            "encoded as PNG"
        )
    if isinstance(cell, bytes) and cell:
        return cell
    held_instead = "nothing" if cell in (None, b"") else f"{type(cell).__name__} {shortened(str(cell))}"
    raise DataError(f"{name} holds {held_instead}; expected the bytes of an image file: {_EMBED}")


def no_pictures_in(place: object, there: Sequence[str], columns: Sequence[str]) -> DataError:
    """Return the error for a table without the column of pictures."""
    expected = tuple(columns[:1] or IMAGE_COLUMNS)
    return DataError(
        f"{place} has the columns {list(there)}; expected image bytes under one of {expected}: name the columns with "
        "data.columns, such as [image, label]"
    )
