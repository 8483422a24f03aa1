"""JSON, YAML and CSV of anybody, parsed within bounds: every fault is a `ValueError` of one line.

The parsers of Python take a name that stands twice without a word, numbers of any length, infinity, halves of
characters, and, in YAML, a few lines that stand for gigabytes.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NoReturn

from beit.errors import shortened

MOST_BYTES = 16 * 2**20  # of JSON; a larger file is no file of settings
MOST_YAML_BYTES = 2**18  # which is read a hundred times as slowly
_MOST_DIGITS = 25  # of a number: any of 64 bits has fewer
_MOST_DEPTH = 100
_MOST_ALIASES = 16  # of YAML: each may double what the ones before stand for
_MOST_CELL = 2**17  # characters
_OCTAL = re.compile(r"[-+]?0[0-7_]+")


class MisreadNumberError(ValueError):
    """A number that few mean as YAML 1.1 reads it: 010 is 8, 1:30 is 90."""


def strict_json(text: str, finite: bool = True) -> Any:
    """Return the content of a JSON text.

    Args:
        text: The text.
        finite: Refuse NaN and infinity, which are no JSON although Python writes them.

    Raises:
        ValueError: If it is no JSON, nested too deep, or holds what no file of settings does.
    """
    value = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_int=_whole,
        parse_float=_real if finite else None,
        parse_constant=_refused if finite else None,
    )
    _check_depth(value)
    if "\\u" in text:  # only escapes can spell half a character
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def strict_yaml(text: str) -> Any:
    """Return the content of a YAML text.

    Raises:
        ValueError: If it is no YAML, nested too deep, has a name twice, or too many aliases.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Loader that counts aliases and compares names."""

        aliases = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                self.aliases += 1
                if self.aliases > _MOST_ALIASES:
                    raise ValueError(f"more than {_MOST_ALIASES} aliases; expected none in a file of settings")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            if (twice := first_twice(names)) is not None:
                raise ValueError(f"the name {shortened(twice)} stands twice; keep one of the two")
            return super().construct_mapping(node, deep)

        def construct_plain_number(self, node: Any) -> int | float:
            """Refuse numbers that few mean as YAML 1.1 reads them: 010 as 8, 1:30 as 90."""
            text = self.construct_scalar(node)
            number = self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)
            if ":" in text or _OCTAL.fullmatch(text):
                raise MisreadNumberError(
                    f"{shortened(text)} is {shortened(number)} in YAML; write that, or a name in quotes"
                )
            return number

    for kind in ("int", "float"):
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", Loader.construct_plain_number)
    try:
        value = yaml.load(text, Loader)  # noqa: S506  # a safe one
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    _check_depth(value)
    if "\\" in text:  # only escapes can spell half a character
        json.dumps(value, ensure_ascii=False, skipkeys=True, default=str).encode("utf-8")
    return value


def strict_csv(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV text with a header, each with the number of its last line.

    Raises:
        ValueError: If a column stands twice, a row has more cells than the header, or a cell is too long.
    """
    before = csv.field_size_limit(_MOST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)  # a quoted line break stays what it is
    try:
        names = next(reader, [])
        if (twice := first_twice(names)) is not None:
            raise ValueError(f"the column {shortened(twice)} stands twice; keep one of the two")
        for row in reader:
            if len(row) > len(names):
                raise ValueError(
                    f"line {reader.line_num} has {len(row)} cells; expected {len(names)}, as the header has"
                )
            if row:
                yield reader.line_num, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    finally:
        csv.field_size_limit(before)


def first_twice(names: Iterable[str]) -> str | None:
    """Return the first name that has stood before, None if all differ."""
    known: set[str] = set()
    for name in names:
        if name in known:
            return name
        known.add(name)
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"the name {shortened(first_twice([name for name, _ in pairs]))} stands twice")
    return found


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits; expected at most {_MOST_DIGITS}")
    return int(text)


def _real(text: str) -> float:
    number = float(text[:1000])
    if number - number != 0:
        raise ValueError(f"the number {shortened(text)}; expected a finite one")
    return number


def _refused(text: str) -> NoReturn:
    raise ValueError(f"the number {text}; expected a finite one")


def _check_depth(value: Any) -> None:
    """Refuse what is nested too deep for whoever prints or compares it."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _MOST_DEPTH:
            raise ValueError(f"it is nested more than {_MOST_DEPTH} deep")
        level = [
            part
            for item in level
            if isinstance(item, dict | list)
            for part in (item.values() if isinstance(item, dict) else item)
        ]
