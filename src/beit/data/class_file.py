"""A text file with the names of classes, one per line, and the colours that stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from beit.data.mask_ids import MOST_CLASSES, Colour
from beit.errors import DataError
from beit.image import IGNORED

IGNORED_NAME = "ignored"


@dataclass(frozen=True)
class NamedClasses:
    """What such a file says.

    Attributes:
        names: Of the classes, in order.
        colours: The class that each colour stands for, IGNORED for none; None if no colours are given.
    """

    names: list[str]
    colours: dict[Colour, int] | None


def read_classes(path: str) -> NamedClasses:
    """Read names, or names and colours such as `road 128 64 128`; the name `ignored` stands for no class.

    Raises:
        DataError: If it cannot be read, has fewer than two classes or too many, or names or colours occur twice.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}; expected a text file with a class per line") from None
    entries = [_entry(line) for line in lines if line]
    coloured = [colour is not None for _, colour in entries]
    if any(coloured) and not all(coloured):
        bare = entries[coloured.index(False)][0]
        raise DataError(f"{path} gives colours, but none for {bare!r}; write 'red green blue' behind every name")
    names = [name for name, _ in entries if name != IGNORED_NAME]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} names {twice[0]!r} twice; expected a line for each class")
    if not 2 <= len(names) <= MOST_CLASSES:
        raise DataError(f"{path} names {len(names)} classes; expected 2 to {MOST_CLASSES}")
    number = {name: index for index, name in enumerate(names)} | {IGNORED_NAME: IGNORED}
    colours = {colour: number[name] for name, colour in entries if colour is not None}
    if len(colours) < sum(coloured):
        raise DataError(f"{path} gives one colour to two classes; expected a colour of its own for each")
    return NamedClasses(names, colours or None)


def _entry(line: str) -> tuple[str, Colour | None]:
    words = line.split()
    levels = [int(word) for word in words[-3:] if word.isdecimal() and int(word) < 256]
    if len(words) < 4 or len(levels) < 3:
        return line, None
    return " ".join(words[:-3]), (levels[0], levels[1], levels[2])
