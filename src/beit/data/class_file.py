"""Files that name the classes of label maps, one a line, as people and annotation programs write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from beit.data.sources.label_maps import MOST_CLASSES, Colour
from beit.errors import DataError, shortened
from beit.files import first_twice, read_regular
from beit.image import IGNORED

IGNORED_NAME = "ignored"  # of a colour that stands for no class
_MOST_BYTES = 2**20
_COMMENT = "# "
_SHOWN = 5  # numbers in a message
# `side walk 244 35 232`, `road,128,64,128` of class_dict.csv, `car:128,0,0::` of CVAT's labelmap.txt
_COLOURED = re.compile(r"(.+?)[\s,;:]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})(?::[^:]*:[^:]*)?")
_NUMBERED = re.compile(r"(\d{1,9})\s*[\s,;:]\s*(\S.*)")
_COLUMNS = re.compile(r"[,;:\t]")
_HEADER = frozenset(
    {"name", "class", "label", "class name", "label name", "category", "r", "g", "b", "red", "green", "blue", "color"}
    | {"colour", "color_rgb", "id", "index", "number", "value", "pixel value", "label id", "class id"}
)


@dataclass(frozen=True)
class NamedClasses:
    """Content of a file of classes.

    Attributes:
        names: Of the classes, in order.
        colours: The class that each colour stands for, IGNORED for none; None if no colours are given.
    """

    names: list[str]
    colours: dict[Colour, int] | None


def read_classes(path: str) -> NamedClasses:
    """Read a file with a class per line: a name, or a name and a colour such as `road 128 64 128`.

    The name `ignored` stands for no class. Lines that begin with "# " and a header of columns are left out, and so are
    numbers before all names, if they count from 0.

    Raises:
        DataError: If it cannot be read, has fewer than two classes or too many, or names or colours occur twice.
    """
    try:
        lines = [line.strip() for line in read_regular(path, _MOST_BYTES).decode("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}; expected a text file with a class per line, or one of ade20k, camvid and "
            "cityscapes"
        ) from None
    entries = [_entry(line) for line in _without_numbers(path, _rows(lines))]
    coloured = [colour is not None for _, colour in entries]
    if any(coloured) and not all(coloured):
        bare = entries[coloured.index(False)][0]
        raise DataError(
            f"{path} gives colours, but none for {shortened(bare)}; write 'red green blue' behind every name"
        )
    names = [name for name, _ in entries if name != IGNORED_NAME]
    if (twice := first_twice(names)) is not None:
        raise DataError(f"{path} names {shortened(twice)} twice; expected a line for each class")
    if not 2 <= len(names) <= MOST_CLASSES:
        raise DataError(f"{path} names {len(names)} classes; expected 2 to {MOST_CLASSES}")
    number = {name: index for index, name in enumerate(names)} | {IGNORED_NAME: IGNORED}
    colours = {colour: number[name] for name, colour in entries if colour is not None}
    if len(colours) < sum(coloured):
        raise DataError(f"{path} gives one colour to two classes; expected a colour of its own for each")
    return NamedClasses(names, colours or None)


def _rows(lines: Sequence[str]) -> list[str]:
    """Return the lines that are no comment, blank, or a header of columns such as `Pixel Value, Class`."""
    rows = [line for line in lines if line and not line.startswith(_COMMENT)]
    columns = [" ".join(name.lower().split()) for name in _COLUMNS.split(rows[0])] if rows else []
    return rows[1:] if len(columns) > 1 and {*columns} <= _HEADER else rows


def _without_numbers(path: str, rows: Sequence[str]) -> list[str]:
    """Return the rows without the numbers that count them.

    Raises:
        DataError: If all have one, and these do not count from 0, as the classes would then be others.
    """
    found = [_NUMBERED.fullmatch(row) for row in rows]
    numbered = [(int(one[1]), one[2]) for one in found if one is not None]
    if len(numbered) < len(rows) or not rows:
        return list(rows)
    numbers = [number for number, _ in numbered]
    if numbers != [*range(len(numbers))]:
        shown = ", ".join(map(str, numbers[:_SHOWN])) + ", ..." * (len(numbers) > _SHOWN)
        raise DataError(
            f"{path} numbers its classes {shown}; expected 0, 1, 2 and so on, as in the label maps: name every class "
            "in this order, or give the numbers their classes with label_maps.mapping, and leave them out of this file"
        )
    return [name for _, name in numbered]


def _entry(row: str) -> tuple[str, Colour | None]:
    found = _COLOURED.fullmatch(row)
    levels = [int(level) for level in found.groups()[1:]] if found is not None else []
    if found is None or max(levels) > 255:
        return row, None
    return found[1], (levels[0], levels[1], levels[2])
