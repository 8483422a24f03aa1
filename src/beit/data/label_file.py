"""Labels of a folder of pictures from a CSV or JSON lines file: a class, several labels, or a number for each.

CSV has a header. `file_name` is the path of a picture within the folder, as in the `metadata.csv` of the Hugging Face
hub. Beside it stands one of `label` (a class), `labels` (several, or none: a list in JSON, separated by ";" in CSV) and
`value` (a number).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from beit.data.sources.folder import FolderSource
from beit.data.sources.source import ImageSource, LabelKind, Subset
from beit.errors import DataError

_COLUMNS: dict[str, LabelKind] = {"label": "class", "labels": "labels", "value": "value"}


def with_labels(source: ImageSource, folder: str, file: str, classes: Sequence[str] | None = None) -> ImageSource:
    """Return the pictures of a folder that a file has a row for, with the labels that stand there.

    Args:
        source: The pictures.
        folder: Where they are.
        file: CSV or JSON lines.
        classes: Names of the classes, if they are known from the pictures to train on; others are then an error.

    Raises:
        DataError: If the file cannot be read, names no picture, or has a row that makes no sense.
    """
    if not isinstance(source, FolderSource):
        raise DataError(f"data.labels {file} needs a folder of pictures; {folder} is none")
    number = {source.name(index): index for index in range(len(source))}
    rows = list(_rows(Path(file)))
    kind = _kind(file, rows)
    column = next(name for name, known in _COLUMNS.items() if known == kind)
    indices: dict[int, Any] = {}
    for line, row in rows:
        name = str(Path(folder) / str(row.get("file_name", "")))
        if name not in number:
            raise DataError(
                f"{file}, line {line} names {row.get('file_name')!r}; expected the path of a picture in {folder}"
            )
        if number[name] in indices:
            raise DataError(f"{file}, line {line} names {row['file_name']!r} a second time; remove one of the two rows")
        indices[number[name]] = _content(file, line, column, row.get(column))
    if missing := len(source) - len(indices):
        print(f"{missing} of {len(source)} pictures in {folder} have no row in {file} and are left out")  # noqa: T201
    order = sorted(indices)
    chosen = Subset(source, np.array(order, dtype=np.int64))
    _label(chosen, file, kind, [indices[index] for index in order], classes)
    return chosen


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file with their line numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.labels {path} cannot be read ({error}); expected CSV or JSON lines in UTF-8") from None
    if path.suffix == ".csv":
        reader = csv.DictReader(text.splitlines())
        yield from ((reader.line_num, row) for row in reader)
        return
    for line, content in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(content)
        except ValueError as error:
            raise DataError(f"{path}, line {line} is no JSON ({error}); expected an object a line, or a .csv") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line} is no JSON object; expected {{'file_name': ..., 'labels': [...]}}")
        yield line, row


def _kind(file: str, rows: Sequence[tuple[int, dict[str, Any]]]) -> LabelKind:
    columns = sorted(rows[0][1].keys() & _COLUMNS.keys()) if rows else []
    if len(columns) != 1:
        raise DataError(f"{file} has {columns or 'none'} of the columns {list(_COLUMNS)}; expected one, and file_name")
    return _COLUMNS[columns[0]]


def _content(file: str, line: int, column: str, value: Any) -> Any:
    """Return a class name, a list of them, or a number."""
    if column == "labels":
        names: Any = [name.strip() for name in value.split(";") if name.strip()] if isinstance(value, str) else value
        if isinstance(names, list) and all(isinstance(name, str) for name in cast(list[Any], names)):
            return cast(list[str], names)
    if column == "label" and isinstance(value, str) and value:
        return value
    if column == "value":
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    expected = {"label": "the name of a class", "labels": "names separated by ;, or a list", "value": "a number"}
    raise DataError(f"{file}, line {line} has {column} {value!r}; expected {expected[column]}")


def _label(source: Subset, file: str, kind: LabelKind, contents: list[Any], known: Sequence[str] | None) -> None:
    source.label_kind = kind
    if kind == "value":
        source.classes, source.labels = ["value"], np.array(contents, dtype=np.float32)[:, None]
        return
    names = [[content] if kind == "class" else content for content in contents]
    found = {name for row in names for name in row}
    source.classes = sorted(found) if known is None else list(known)
    if strange := sorted(found - set(source.classes)):
        raise DataError(f"{file} has the labels {strange[:5]}, which no picture to train on has; correct them")
    place = {name: index for index, name in enumerate(source.classes)}
    if kind == "class":
        source.labels = np.array([place[row[0]] for row in names], dtype=np.int64)
        return
    hot = np.zeros((len(names), len(place)), dtype=np.float32)
    for index, row in enumerate(names):
        hot[index, [place[name] for name in row]] = 1
    source.labels = hot
