"""Rows of a file of labels: CSV with any of the usual separators, or JSON, one object a line or in a list."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from beit.errors import DataError, shortened
from beit.files import first_twice, read_regular, strict_json

IMAGE_NAMES = ("file_name", "filename", "file", "image", "img", "path", "picture")
_MOST_BYTES = 2**31  # a hundred bytes each for twenty million pictures
_SEPARATORS = (",", ";", "\t", "|")
_TABLES = (".csv", ".tsv", ".tab", ".txt")


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        line: Its number.
        cells: Content by column.
    """

    line: int
    cells: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file that are not blank; there are no spaces around names and text.

    Raises:
        DataError: If it cannot be read.
    """
    text = _text(path)
    if path.suffix.lower() in _TABLES:
        return [row for row in _table(path, text) if any(value != "" for value in row.cells.values())]
    return list(_json(path, text))


def _text(path: Path) -> str:
    try:
        content = read_regular(path, _MOST_BYTES)
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.labels {path} cannot be read ({error}); expected CSV or JSON lines in UTF-8") from None


def _table(path: Path, text: str) -> Iterator[Row]:
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if header is None:
                header = stripped
                _refuse_twice(path, header)
                continue
            cells_of = dict(zip(header, stripped, strict=False))
            if len(stripped) > len(header):  # labels with the separator between them, and no quotes around
                last = header[-1]
                cells_of[last] = separator.join([cells_of[last], *stripped[len(header) :]])
            yield Row(reader.line_num, cells_of)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num} is no CSV ({error}); expected quotes that are closed"
        ) from None


def _separator(text: str) -> str:
    """Return the separator of the header that makes out a column of pictures, or else most columns."""
    header = next((line for line in text.splitlines() if line.strip()), "")

    def columns(separator: str) -> list[str]:
        return [name.strip().strip('"') for name in header.split(separator)]

    return max(_SEPARATORS, key=lambda separator: (_has_image(columns(separator)), len(columns(separator))))


def _has_image(columns: Sequence[str]) -> bool:
    return any(name.lower() in IMAGE_NAMES for name in columns)


def _refuse_twice(path: Path, header: Sequence[str]) -> None:
    if (twice := first_twice(header)) is not None:
        raise DataError(f"{path} has two columns {shortened(twice)}; expected names that differ: rename one of them")


def _json(path: Path, text: str) -> Iterator[Row]:
    if text.lstrip().startswith("["):
        try:
            found = strict_json(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is no JSON ({error}); expected a list of objects, or an object a line") from None
        numbered = list(enumerate(cast("list[Any]", found), start=1))
    else:
        numbered = [(line, _line(path, line, one)) for line, one in enumerate(text.split("\n"), 1) if one.strip()]
    for line, row in numbered:
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line} is no JSON object; expected {{'file_name': ..., 'labels': [...]}}")
        cells = cast("dict[str, Any]", row)
        yield Row(line, {name.strip(): one.strip() if isinstance(one, str) else one for name, one in cells.items()})


def _line(path: Path, line: int, content: str) -> Any:
    try:
        return strict_json(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {line} is no JSON ({error}); expected an object a line, or a .csv") from None
