"""Rows of a file of labels: CSV with any of the usual separators, or JSON, one object a line or in a list."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from beit.errors import DataError, shortened
from beit.files import first_twice, read_regular, strict_json

IMAGE_NAMES = ("file_name", "filename", "file", "image", "img", "path", "picture")
_MOST_BYTES = 2**31  # a hundred bytes each for twenty million pictures
_SEPARATORS = (",", ";", "\t", "|")
_SAID = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # a first line that names the separator
_INDEX = re.compile(r"Unnamed: \d+")  # what pandas calls a column without a name, such as that of its rows' numbers
_TABLES = (".csv", ".tsv", ".tab", ".txt")
_OBJECTS = (".jsonl", ".ndjson", ".json")


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
    if found := _SAID.match(text):  # of Excel
        separator, text = found[1], f"\n{text[found.end() :]}"
    else:
        separator = _separator(text)
    if separator == " ":  # of which there may be several
        text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if header is None:
                header = ["" if _INDEX.fullmatch(name) else name for name in stripped]
                _refuse_twice(path, [name for name in header if name])
                continue
            while len(stripped) > len(header) and not stripped[-1]:  # separators at the end of a line
                stripped.pop()
            cells_of = {name: cell for name, cell in zip(header, stripped, strict=False) if name}
            if len(stripped) > len(header):  # labels with the separator between them, and no quotes around
                last = header[-1]
                cells_of[last] = separator.join(filter(None, [cells_of.get(last), *stripped[len(header) :]]))
            yield Row(reader.line_num, cells_of)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num} is no CSV ({error}); expected quotes that are closed"
        ) from None


def _separator(text: str) -> str:
    """Return the separator of the header that makes out a column of pictures, or else most columns.

    A space separates where nothing else does, and every row has as many words as the header.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    header = lines[0] if lines else ""

    def columns(separator: str) -> list[str]:
        return [name.strip().strip('"') for name in header.split(separator)]

    words = header.split()
    if _has_image(words) and not any(separator in header for separator in _SEPARATORS):
        return " " if all(len(line.split()) == len(words) for line in lines) else _SEPARATORS[0]
    return max(_SEPARATORS, key=lambda separator: (_has_image(columns(separator)), len(columns(separator))))


def _has_image(columns: Sequence[str]) -> bool:
    return any(plain_name(name) in IMAGE_NAMES for name in columns)


def plain_name(name: str) -> str:
    """Return the name of a column in the spelling of the usual ones: `File name` is `file_name`."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _refuse_twice(path: Path, header: Sequence[str]) -> None:
    if (twice := first_twice(header)) is not None:
        raise DataError(f"{path} has two columns {shortened(twice)}; expected names that differ: rename one of them")


def _json(path: Path, text: str) -> Iterator[Row]:
    if path.suffix.lower() not in _OBJECTS:
        raise DataError(
            f"data.labels {path} ends in {path.suffix or 'nothing'}; expected {', '.join((*_TABLES, *_OBJECTS))}: "
            "export it as CSV, or rename it"
        )
    if text.lstrip().startswith("["):
        try:
            found = strict_json(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} is no JSON ({error}); expected a list of objects, or an object a line") from None
        numbered = list(enumerate(cast("list[Any]", found), start=1))
    elif (mapped := _mapped(text)) is not None:
        numbered = mapped
    else:
        numbered = [(line, _line(path, line, one)) for line, one in enumerate(text.split("\n"), 1) if one.strip()]
    for line, row in numbered:
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line} is no JSON object; expected {{'file_name': ..., 'labels': [...]}}")
        cells = cast("dict[str, Any]", row)
        yield Row(line, {name.strip(): one.strip() if isinstance(one, str) else one for name, one in cells.items()})


def _mapped(text: str) -> list[tuple[int, Any]] | None:
    """Return a row for every name in one object of labels by names of pictures; None of anything else."""
    try:
        found = strict_json(text)
    except (ValueError, RecursionError):
        return None
    labels = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    if not labels or _has_image(list(labels)) or any(map(_is_nested, labels.values())):
        return None
    return [(line, {"file_name": name, "label": label}) for line, (name, label) in enumerate(labels.items(), start=1)]


def _is_nested(label: Any) -> bool:
    items = cast("list[Any]", label) if isinstance(label, list) else [label]
    return any(isinstance(item, dict | list) for item in items)


def _line(path: Path, line: int, content: str) -> Any:
    try:
        return strict_json(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {line} is no JSON ({error}); expected an object a line, or a .csv") from None
