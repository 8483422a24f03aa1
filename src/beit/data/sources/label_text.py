"""Text of labels: lists in a cell, and what stands between several labels."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, cast

from beit.errors import DataError, shortened

_STRONG = (";", "|")  # hardly part of a name
_BARE = re.compile(r"(['\"])\s+(?=['\"])")  # between the names of an array of numpy
_BRACKETS = ("[]", "{}")
_MOST_LISTED = 10_000  # characters of a list in a cell


def listed_labels(cell: str) -> list[Any] | None:
    """Return the names or numbers in a cell that holds a list, as Python, numpy and JSON write it; None of other text.

    An object that holds one list, as Label Studio writes several choices, is this list.
    """
    if cell[:1] + cell[-1:] not in _BRACKETS or len(cell) > _MOST_LISTED:
        return None
    try:
        found: Any = ast.literal_eval(_BARE.sub(r"\1, ", cell))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(found, dict) and len(cast("dict[Any, Any]", found)) == 1:
        found = next(iter(cast("dict[Any, Any]", found).values()))
    names = cast("list[Any]", found) if isinstance(found, list) else None
    return names if names is not None and all(isinstance(name, str | int | float) for name in names) else None


def separator_between(column: str, cells: Iterable[str], several: bool) -> str | None:
    """Return what stands between labels, None if every cell is one.

    Names may hold commas and spaces, as "tench, Tinca tinca" does: these divide labels where their parts stand alone
    elsewhere, or fewer parts than cells make up all of them.

    Args:
        column: What the cells are of, for messages.
        cells: The text of all cells.
        several: Whether each is known to hold several labels.

    Raises:
        DataError: If it is not clear, or a cell holds an object.
    """
    distinct = set(filter(None, cells))
    if objects := sorted(cell for cell in distinct if cell[:1] + cell[-1:] == "{}"):
        raise DataError(
            f"{column} holds the object {shortened(objects[0])}; expected a class, or a list of labels such as "
            "['cat', 'dog']: write its labels in this way"
        )
    strong = [sign for sign in _STRONG if any(sign in cell for cell in distinct)]
    tight = any(re.search(r",\S", cell) for cell in distinct)
    if len(strong) > 1 or (strong and tight):
        raise DataError(
            f"{column} has {' and '.join([*strong, *([','] if tight else [])])} in its cells; expected one of them "
            "between labels"
        )
    if strong:
        return strong[0]
    if any("," in cell for cell in distinct) and (tight or _made_of_parts(distinct, ",", several)):
        return ","
    return " " if any(" " in cell for cell in distinct) and _made_of_parts(distinct, " ", several) else None


def _made_of_parts(distinct: set[str], sign: str, several: bool) -> bool:
    joined = [cell for cell in distinct if sign in cell]
    counts = Counter(part.strip() for cell in distinct for part in set(cell.split(sign)) if part.strip())
    parts = {part.strip() for cell in joined for part in cell.split(sign) if part.strip()}
    return parts <= distinct or (several and len(counts) < len(distinct))
