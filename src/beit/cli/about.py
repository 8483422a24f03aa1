"""Account of a path: what it holds, its properties, and commands that take it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

_SHOWN_NAMES = 8
Rows = list[tuple[str, str]]


class About(NamedTuple):
    """Account of a path: a line, properties by name, and commands that take it."""

    what: str
    rows: Rows
    next_steps: list[str]


def word(path: object) -> str:
    """Return a path as one word of a command: quoted where a shell would take it apart."""
    return shlex.quote(str(path))


def listed(names: Sequence[str]) -> str:
    """Return the number of names, and the first of them."""
    more = ", ..." if len(names) > _SHOWN_NAMES else ""
    return f"{len(names):,}: {', '.join(names[:_SHOWN_NAMES])}{more}"
