"""Labels of a folder of pictures from a CSV or JSON file: a class, several labels, or a number for each.

CSV has a header. `file_name` is the path of a picture within the folder, as in the `metadata.csv` of the Hugging Face
hub. Beside it stands one of `label` (a class), `labels` (several, or none: a list in JSON, separated in CSV) and
`value` (a number), or a column of 0 and 1 for each label.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beit.data.class_names import check_class_names, in_spelling_of
from beit.data.label_cells import label_contents
from beit.data.label_columns import find_columns, split_column
from beit.data.label_names import FileNames
from beit.data.label_rows import Row, read_rows
from beit.data.sources.folder import FolderSource
from beit.data.sources.source import ImageSource, LabelKind, Subset, check_name
from beit.data.splits import ALL, Splits, chosen_split
from beit.errors import DataError
from beit.image import visible_folders

_OF_LABELS = (".csv", ".tsv", ".jsonl", ".ndjson")


def with_labels(
    source: ImageSource,
    folder: str,
    file: str,
    classes: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    split: str | None = None,
) -> ImageSource:
    """Return the pictures of a folder that a file has a row for, with the labels that stand there.

    Args:
        source: The pictures.
        folder: Where they are.
        file: CSV or JSON lines.
        classes: Names of the classes, if they are known from the pictures to train on; others are then an error.
        columns: Names of the columns: of the pictures, then of the labels; empty: the usual ones.
        split: Split to take, where a column divides the rows into some; "all": all rows.

    Raises:
        DataError: If the file cannot be read, names no picture, has a row that makes no sense, or splits of which none
            is named.
    """
    if not isinstance(source, FolderSource):
        raise DataError(f"data.labels {file} needs a folder of pictures; {folder} is none")
    rows = read_rows(Path(file))
    found = find_columns(file, rows, columns)
    without, others = f"no row in {file}", list[Row]()
    if split != ALL and (divided := split_column(rows, (found.image, *found.labels))) is not None:
        name = chosen_split(file, dict.fromkeys(divided[1]), split)
        others = [row for row, of_row in zip(rows, divided[1], strict=True) if of_row != name]
        rows = [row for row, of_row in zip(rows, divided[1], strict=True) if of_row == name]
        without = f"no row of the split {name!r} in {file}"
    indices = _indices(source, folder, file, rows, found.image)
    kind, contents, remark = label_contents(file, rows, found, others)
    missing = len(source) - len(indices)
    if missing:
        print(f"{missing} of {len(source)} pictures in {folder} have {without} and are left out")  # noqa: T201
    if remark and os.environ.get("RANK", "0") == "0":
        print(f"{file}: {remark}", file=sys.stderr)  # noqa: T201
    order = np.argsort(indices, kind="stable")
    chosen = Subset(source, np.array(indices, dtype=np.int64)[order])
    _label(chosen, file, kind, [contents[place] for place in order], classes)
    return chosen


def splits_of_labels(file: str, columns: Sequence[str] = ()) -> Splits | None:
    """Return the splits into which a column divides the rows of a file of labels; None if no column does.

    Raises:
        DataError: If the file cannot be read.
    """
    rows = read_rows(Path(file))
    found = find_columns(file, rows, columns)
    divided = split_column(rows, (found.image, *found.labels))
    return None if divided is None else Splits(file, {name: [] for name in dict.fromkeys(divided[1])})


@dataclass(frozen=True)
class LabelTable:
    """Content of a file of labels, without its pictures.

    Attributes:
        pictures: Number of rows.
        image: Column of the pictures.
        kind: Kind of labels.
        names: Names of the classes or labels, in order; of numbers none.
    """

    pictures: int
    image: str
    kind: LabelKind
    names: list[str]


def read_label_table(file: str) -> LabelTable:
    """Return what a file of labels holds.

    Raises:
        DataError: If it cannot be read, or has a row that makes no sense.
    """
    rows = read_rows(Path(file))
    found = find_columns(file, rows, ())
    kind, contents, _ = label_contents(file, rows, found)
    several = [] if kind == "value" else [[one] if kind == "class" else one for one in contents]
    return LabelTable(len(rows), found.image, kind, _sorted({name for names in several for name in names}))


def label_files(folder: str) -> list[str]:
    """Return the tables in a folder, and in those directly inside it, that may be files of labels."""
    place = Path(folder)
    inner = [place, *(place / name for name in visible_folders(place))] if place.is_dir() else []
    found = sorted(path for one in inner for path in one.iterdir() if path.suffix.lower() in _OF_LABELS)
    return [str(path) for path in found if path.name[0] != "." and path.is_file()]


def _indices(source: ImageSource, folder: str, file: str, rows: Sequence[Row], column: str) -> list[int]:
    """Return the number of the picture of each row.

    Raises:
        DataError: Naming the first row that means none, or one that another row means, and how many others there are.
    """
    paths = [os.path.relpath(source.name(index), folder).replace(os.sep, "/") for index in range(len(source))]
    names, lines, wrong = FileNames(paths), dict[int, Row](), list[Row]()
    for row in rows:
        name = str(row.cells.get(column, ""))
        if (number := names.find(name)) is None:
            wrong.append(row)
        elif number in lines:
            raise DataError(
                f"{file}, line {row.line} names {name!r} a second time, after line {lines[number].line}; remove one of "
                "the two rows"
            )
        else:
            lines[number] = row
    if wrong:
        name = str(wrong[0].cells.get(column, ""))
        more = f"; {len(wrong) - 1} more rows name none" if len(wrong) > 1 else ""
        raise DataError(
            f"{file}, line {wrong[0].line} names {name!r}; expected the path of a picture in {folder}"
            f"{names.nearest(name)}{more}: correct it, or remove the row"
        )
    return list(lines)


def _label(source: Subset, file: str, kind: LabelKind, contents: list[Any], known: Sequence[str] | None) -> None:
    source.label_kind = kind
    if kind == "value":
        source.classes, source.labels = ["value"], np.array(contents, dtype=np.float32)[:, None]
        return
    names: list[list[str]] = [[content] if kind == "class" else content for content in contents]
    if known is not None:
        names = [in_spelling_of(row, known) for row in names]
    found = {name for row in names for name in row}
    for name in found:
        check_name(name)
    check_class_names(sorted(found), file)
    source.classes = _sorted(found) if known is None else list(known)
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


def _sorted(names: set[str]) -> list[str]:
    """Return names in order; numbers as numbers."""
    whole = all(name.isascii() and name.removeprefix("-").isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if whole else sorted(names)  # 1 and 01 in one order
