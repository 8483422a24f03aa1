"""Columns of parquet files: which holds the pictures, which the labels, and the classes in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from beit.data.sources.source import Labels, check_name
from beit.errors import DataError, shortened

IMAGE_COLUMNS = ("image", "img", "picture", "jpg", "png")
_EMBED = "write them into the column, or name a folder of pictures with a file of labels (data.labels)"
_UNLABELLED = "do without labels by naming the column of pictures alone with data.columns"
_EXACT = 2**53  # up to which every whole number is a real one of 64 bits
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


def image_column(there: Sequence[str], columns: Sequence[str]) -> str | None:
    """Return the column of pictures: the one that is wanted, or the first of the usual ones; None if there is none."""
    return next((name for name in columns[:1] or IMAGE_COLUMNS if name in there), None)


def label_column(there: Sequence[str], columns: Sequence[str]) -> str | None:
    """Return the column of labels: the one that is wanted, or the first of the usual ones; None if there is none.

    A wanted column of pictures alone means that none of labels is.

    Raises:
        DataError: If the one that is wanted is not there.
    """
    wanted = columns[1:2]
    if wanted and wanted[0] not in there:
        raise DataError(f"data.columns names {wanted[0]!r} for the labels; expected one of the columns {list(there)}")
    names = columns[1:2] if columns else LABEL_COLUMNS
    return next((name for name in names if name in there), None)


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


def classes_and_labels(table: Any, columns: Sequence[str] = ()) -> tuple[list[str] | None, Labels | None]:
    """Return the class names and the class of every row of a table of `datasets`; None without a column of labels.

    Raises:
        DataError: If a column has the name of one but holds something else, or nothing in some rows.
    """
    column = label_column(table.column_names, columns)
    if column is None:
        return None, None
    feature = table.features[column]
    if type(feature).__name__ not in ("Value", "ClassLabel"):
        raise DataError(
            f"the column {column!r} holds {feature}; expected one class per row, none missing{_remedy(feature)}"
        )
    cells: Any = table.with_format("arrow")[column][:]
    if cells.null_count:
        first = int(np.argmax(np.asarray(cells.is_null())))
        raise DataError(
            f"the column {column!r} is empty in {cells.null_count} of {len(cells)} rows (first: row {first}); expected "
            f"one class per row, none missing: fill these rows in, or {_UNLABELLED}"
        )
    values: NDArray[Any] = cells.to_numpy()
    named = getattr(feature, "names", None)  # a ClassLabel knows its names
    if named is not None:
        return _named(column, values, list(named))
    if values.dtype.kind == "f":
        values = _whole(column, values)
    if values.dtype.kind not in "biuO" or isinstance(values[0], bytes):
        raise DataError(
            f"the column {column!r} holds {feature}; expected one class per row, none missing{_remedy(feature)}"
        )
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


def _remedy(feature: object) -> str:
    """Return what helps where rows have lists of labels, or what is neither text nor number."""
    if "List" not in str(feature) and "Sequence" not in str(feature):
        return ": write them as text, or name the column of pictures alone with data.columns"
    return ": several labels of a picture stand in a file of labels (data.labels), with the pictures in a folder"
