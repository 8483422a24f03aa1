"""Which columns of a table are the pictures and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from beit.data.source import Labels
from beit.errors import DataError

IMAGE_COLUMNS = ("image", "img", "picture", "jpg", "png")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


def first_column(table: Any, names: Sequence[str]) -> str | None:
    """Return the first of some names that a table of `datasets` has a column of."""
    return next((name for name in names if name in table.column_names), None)


def classes_and_labels(table: Any) -> tuple[list[str] | None, Labels | None]:
    """Return the class names and the class of every row, or nothing if there is no column of labels.

    Raises:
        DataError: If a column has the name of one but holds something else.
    """
    column = first_column(table, LABEL_COLUMNS)
    if column is None:
        return None, None
    feature = table.features[column]
    values = np.asarray(table.with_format("numpy")[column][:])
    is_scalar = type(feature).__name__ in ("Value", "ClassLabel")
    if not is_scalar or values.dtype.kind not in "iuUSO" or any(value is None for value in values.tolist()):
        raise DataError(f"the column {column!r} holds {feature}; expected one class per row, none missing")
    named = getattr(feature, "names", None)  # a ClassLabel knows its names
    if named is not None:
        return list(named), np.asarray(values, dtype=np.int64)
    distinct, labels = np.unique(values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True)
    return [str(value) for value in distinct], labels.astype(np.int64)
